/*
 * tartan-cni: the CNI executable. It decides nothing: it hands its environment and standard input to the node's agent
 * and prints the agent's answer. What it answers by itself is only what has to work without an agent:
 *
 *   no CNI_COMMAND   about text on stderr, exit 0, as the reference plugins do
 *   VERSION          the versions (input is waited for at most VERSION_WAIT_MS, and only to echo its cniVersion)
 *   agent away       ADD CHECK GC: code 11 (try later), STATUS: code 50, DEL: the request is spooled, exit 0
 *
 * "Away" is every way of getting no answer: no socket, a refused connection, a close without a byte, ANSWER_WAIT_S of
 * silence. A DEL may therefore both be spooled and have been done: DEL is idempotent.
 *
 *   request   NAME=VALUE NUL … NUL, an empty string, standard input verbatim, end of stream
 *             names: every CNI_*, TARTAN_PROTOCOL (1), TARTAN_ARGV0 (base name of this executable as it was called)
 *   reply     one digit (the exit code), then standard output verbatim, end of stream
 *   spool     DIR/spool/TIME-PID.del beside the socket: one request as above, complete once it has this name; names
 *             sort by time
 *
 * The socket's path is the first line of `<path of this executable>.socket`, else DEFAULT_SOCKET: the nodes of one host
 * may share the bytes of this file, not its path.
 *
 * Where there is an agent nothing goes through stdio: its buffers and pages would be a tenth of this program's time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/run/tartan/cni.sock"
#define VERSIONS "\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\""
#define LATEST "1.1.0"
enum { INPUT_MAX = 4 << 20, ENV_MAX = 1 << 20, VERSION_WAIT_MS = 100, INPUT_WAIT_MS = 30000, ANSWER_WAIT_S = 60 };
enum { UNKNOWN_VERB = 4, IO = 5, DECODE = 6, TRY_LATER = 11, UNAVAILABLE = 50 };

extern char **environ;
static char request[ENV_MAX + INPUT_MAX + 1], reply[INPUT_MAX];
static size_t request_size, input_at, reply_size;
static char socket_path[4096];

static int write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

/* The cniVersion of the input by a plain scan, good enough to address an error; LATEST where none is found. */
static const char *input_version(void)
{
	static char version[32];
	const char *key = "\"cniVersion\"", *at = memmem(request + input_at, request_size - input_at, key, strlen(key));
	/* request[] is longer than any input and zeroed, so the text ends with NUL. */
	if (at && sscanf(at + strlen(key), " : \"%31[0-9A-Za-z.+-]\"", version) == 1)
		return version;
	return LATEST;
}

static void print_json_string(const char *text)
{
	putchar('"');
	for (; *text; text++)
		if ((unsigned char)*text < 0x20)
			printf("\\u%04x", *text);
		else
			printf(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
	putchar('"');
}

static int fail(int code, const char *message, const char *details)
{
	printf("{\"cniVersion\":\"%s\",\"code\":%d,\"msg\":\"%s\",\"details\":", input_version(), code, message);
	print_json_string(details);
	puts("}");
	return 1;
}

static int append(const char *name, const char *value)
{
	int n = snprintf(request + request_size, ENV_MAX - request_size, "%s%s", name, value);
	if (n < 0 || (size_t)n + 2 > ENV_MAX - request_size) /* with room for the empty string */
		return -1;
	request_size += (size_t)n + 1;
	return 0;
}

static int collect_environment(const char *argv0)
{
	const char *slash = argv0 ? strrchr(argv0, '/') : NULL;
	if (append("TARTAN_PROTOCOL=", "1") || append("TARTAN_ARGV0=", slash ? slash + 1 : argv0 ? argv0 : ""))
		return -1;
	for (char **entry = environ; *entry; entry++)
		if (strncmp(*entry, "CNI_", 4) == 0 && append(*entry, ""))
			return -1;
	request_size++; /* the empty string */
	input_at = request_size;
	return 0;
}

static int milliseconds_to(const struct timespec *start, int wait_ms)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	long left = wait_ms - (now.tv_sec - start->tv_sec) * 1000L - (now.tv_nsec - start->tv_nsec) / 1000000L;
	return left > 0 ? (int)left : 0;
}

/* Appends standard input to the request; -1 with errno when it cannot be read, is too long or does not end in time. */
static int collect_input(int wait_ms)
{
	struct timespec start;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (;;) {
		struct pollfd in = {.fd = 0, .events = POLLIN};
		int ready = poll(&in, 1, milliseconds_to(&start, wait_ms));
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready == 0)
			errno = ETIMEDOUT;
		if (ready <= 0)
			return -1;
		ssize_t n = read(0, request + request_size, input_at + INPUT_MAX + 1 - request_size);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return (int)n;
		request_size += (size_t)n;
		if (request_size > input_at + INPUT_MAX) {
			errno = EFBIG;
			return -1;
		}
	}
}

static void find_socket(void)
{
	static const char deleted[] = " (deleted)"; /* what the kernel appends when the file was replaced meanwhile */
	char sidecar[4096 + 8];
	strcpy(socket_path, DEFAULT_SOCKET);
	ssize_t n = readlink("/proc/self/exe", sidecar, 4095);
	if (n <= 0)
		return;
	sidecar[n] = '\0';
	if ((size_t)n > strlen(deleted) && strcmp(sidecar + n - strlen(deleted), deleted) == 0)
		sidecar[n - (ssize_t)strlen(deleted)] = '\0';
	char line[sizeof socket_path] = "";
	int fd = open(strcat(sidecar, ".socket"), O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, line, sizeof line - 1) > 0 && line[strcspn(line, "\n")] == '\n' && line[0] == '/') {
		line[strcspn(line, "\n")] = '\0';
		strcpy(socket_path, line);
	}
	if (fd >= 0)
		close(fd);
}

/* Fills `reply`; -1 with errno when there is no answer. */
static int ask_agent(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct timeval wait = {.tv_sec = ANSWER_WAIT_S};
	if (strlen(socket_path) >= sizeof to.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(to.sun_path, socket_path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait); /* for connect, too */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
		return -1;
	/* An agent that refuses the request early may answer before it has read everything. */
	if (write_all(fd, request, request_size) == 0)
		shutdown(fd, SHUT_WR);
	while (reply_size < sizeof reply) {
		ssize_t n = read(fd, reply + reply_size, sizeof reply - reply_size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		reply_size += (size_t)n;
	}
	errno = reply_size == 0 ? ECONNRESET : reply_size == sizeof reply ? EFBIG : EPROTO;
	return reply_size > 0 && reply_size < sizeof reply && reply[0] >= '0' && reply[0] <= '9' ? 0 : -1;
}

static int sync_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int failed = fd < 0 || fsync(fd) < 0;
	if (fd >= 0)
		close(fd);
	return failed ? -1 : 0;
}

/* Keeps the request for the agent's return; -1 with errno when that cannot be promised. */
static int spool(void)
{
	char directory[4096 + 8], unfinished[4096 + 64], finished[4096 + 64];
	struct timespec now;
	strcpy(directory, socket_path);
	*strrchr(directory, '/') = '\0';
	mkdir(directory, 0755);
	mkdir(strcat(directory, "/spool"), 0700);
	clock_gettime(CLOCK_REALTIME, &now);
	int stem = snprintf(finished, sizeof finished, "%s/%012lld%09ld-%d", directory, (long long)now.tv_sec, now.tv_nsec,
			    (int)getpid());
	memcpy(unfinished, finished, (size_t)stem);
	strcpy(unfinished + stem, ".tmp");
	strcpy(finished + stem, ".del");
	int fd = open(unfinished, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	if (write_all(fd, request, request_size) == 0 && fsync(fd) == 0 && rename(unfinished, finished) == 0)
		return sync_directory(directory);
	int reason = errno;
	unlink(unfinished);
	errno = reason;
	return -1;
}

static int without_agent(const char *verb, int reason)
{
	char details[sizeof socket_path + 128];
	snprintf(details, sizeof details, "%s: %s", socket_path, strerror(reason));
	if (strcmp(verb, "STATUS") == 0)
		return fail(UNAVAILABLE, "the agent of this node gives no answer", details);
	if (strcmp(verb, "ADD") == 0 || strcmp(verb, "CHECK") == 0 || strcmp(verb, "GC") == 0)
		return fail(TRY_LATER, "the agent of this node gives no answer", details);
	if (strcmp(verb, "DEL") != 0)
		return fail(UNKNOWN_VERB, "unknown CNI_COMMAND", verb);
	const char *id = getenv("CNI_CONTAINERID"), *ifname = getenv("CNI_IFNAME");
	if (!id || !*id || !ifname || !*ifname)
		return fail(UNKNOWN_VERB, "DEL needs CNI_CONTAINERID and CNI_IFNAME", "");
	if (spool() == 0)
		return 0;
	snprintf(details, sizeof details, "spool beside %s: %s", socket_path, strerror(errno));
	return fail(TRY_LATER, "the agent gives no answer and the request cannot be spooled", details);
}

static int run(const char *argv0)
{
	const char *verb = getenv("CNI_COMMAND");
	if (!verb || !*verb) {
		fputs("Tartan CNI plugin\nCNI protocol versions supported: " VERSIONS "\n", stderr);
		return 0;
	}
	if (collect_environment(argv0))
		return fail(UNKNOWN_VERB, "the CNI_* variables are too long", "");
	if (strcmp(verb, "VERSION") == 0) {
		collect_input(VERSION_WAIT_MS);
		printf("{\"cniVersion\":\"%s\",\"supportedVersions\":[" VERSIONS "]}\n", input_version());
		return 0;
	}
	if (collect_input(INPUT_WAIT_MS) < 0)
		return fail(errno == EFBIG ? DECODE : IO, "standard input cannot be read", strerror(errno));
	find_socket();
	if (ask_agent() < 0)
		return without_agent(verb, errno);
	return write_all(1, reply + 1, reply_size - 1) == 0 ? reply[0] - '0' : 1;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	int status = run(argc > 0 ? argv[0] : NULL);
	return fflush(stdout) == 0 ? status : 1;
}
