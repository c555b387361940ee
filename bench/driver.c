/*
 * Executes CNI requests and measures each from just before its first process is made to the end of the last, so that
 * nothing of Node is in the figures. Usage: driver <mode> <answers> < requests > times
 * mode 0: one after the other; 1: all at once; 2: as 0, and after each waits for a link of this namespace to be gone.
 * A request is a line: number of plugins, executable and file of standard input of each, KEY=VALUE …, with tabs between.
 * The plugins of a request run one after the other, as a runtime runs a chain.
 * Answers, one line each, in order: nanoseconds TAB exit code TAB nanoseconds until the link was gone (mode 2, else 0).
 * A last line holds the wall time of the whole. With BENCH_CGROUP every process of the requests is in that cgroup.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_REQUESTS = 4096, MAX_FIELDS = 32, MAX_PLUGINS = 4 };

struct request {
  int plugins;
  char *executable[MAX_PLUGINS], *input[MAX_PLUGINS];
  char *environment[MAX_FIELDS];
  pid_t pid;
  long long started, took, gone;
  int status;
};

static struct request requests[MAX_REQUESTS];
static const char *cgroup, *answers;
static int links = -1;

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void parse(struct request *r, char *line) {
  char *save = NULL, *word = strtok_r(line, "\t", &save);
  r->plugins = word ? atoi(word) : 0;
  if (r->plugins < 1 || r->plugins > MAX_PLUGINS) exit(2);
  for (int i = 0; i < r->plugins; i++) {
    r->executable[i] = strtok_r(NULL, "\t", &save);
    r->input[i] = strtok_r(NULL, "\t", &save);
  }
  for (int i = 0; i < MAX_FIELDS - 1 && (r->environment[i] = strtok_r(NULL, "\t", &save)); i++) {}
}

static pid_t spawn_plugin(struct request *r, int number) {
  pid_t pid;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, r->input[number], O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, answers, O_WRONLY | O_APPEND, 0);
  char *argv[] = {r->executable[number], NULL};
  if (posix_spawn(&pid, r->executable[number], &actions, NULL, argv, r->environment) != 0) {
    perror(r->executable[number]);
    exit(1);
  }
  posix_spawn_file_actions_destroy(&actions);
  return pid;
}

static void enter_cgroup(void) {
  char path[4096];
  snprintf(path, sizeof path, "%s/cgroup.procs", cgroup);
  int fd = open(path, O_WRONLY);
  if (fd < 0 || write(fd, "0", 1) != 1) {
    perror(path);
    _exit(1);
  }
  close(fd);
}

/* The child of a chain: each plugin in turn; the first that fails ends it. */
static void run_chain(struct request *r) {
  int status;
  if (cgroup) enter_cgroup();
  for (int i = 0; i < r->plugins; i++) {
    waitpid(spawn_plugin(r, i), &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) _exit(1);
  }
  _exit(0);
}

static void start(struct request *r) {
  r->started = now();
  if (r->plugins == 1 && !cgroup) {
    r->pid = spawn_plugin(r, 0);
    return;
  }
  r->pid = fork();
  if (r->pid == 0) run_chain(r);
}

static void watch_links(void) {
  struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
  struct timeval patience = {10, 0};
  links = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (links < 0 || bind(links, (void *)&address, sizeof address) < 0) {
    perror("netlink");
    exit(1);
  }
  setsockopt(links, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

/* Until the kernel tells that a link is gone; -1 when it does not within ten seconds. */
static long long wait_gone(void) {
  static _Alignas(struct nlmsghdr) char bytes[64 << 10];
  for (;;) {
    ssize_t size = recv(links, bytes, sizeof bytes, 0);
    if (size <= 0) return -1;
    for (struct nlmsghdr *m = (void *)bytes; NLMSG_OK(m, size); m = NLMSG_NEXT(m, size)) {
      struct ifinfomsg *link = NLMSG_DATA(m);
      if (m->nlmsg_type == RTM_DELLINK && link->ifi_family == AF_UNSPEC) return now();
    }
  }
}

static void finish(struct request *r, int status) {
  r->took = now() - r->started;
  r->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  int mode = atoi(argv[1]), count = 0, status;
  char *line = NULL;
  size_t size = 0;
  answers = argv[2]; /* a file that exists: all that the plugins print */
  cgroup = getenv("BENCH_CGROUP");
  for (ssize_t n; count < MAX_REQUESTS && (n = getline(&line, &size, stdin)) > 0; count++, line = NULL, size = 0) {
    if (line[n - 1] == '\n') line[n - 1] = 0;
    parse(&requests[count], line);
  }
  if (mode == 2) watch_links();
  long long begun = now();
  for (int i = 0; i < count; i++) {
    start(&requests[i]);
    if (mode == 1) continue;
    waitpid(requests[i].pid, &status, 0);
    finish(&requests[i], status);
    if (mode == 2) requests[i].gone = wait_gone() - requests[i].started;
  }
  for (int left = mode == 1 ? count : 0; left > 0; left--) {
    pid_t pid = wait(&status);
    for (int i = 0; i < count; i++)
      if (requests[i].pid == pid) finish(&requests[i], status);
  }
  long long wall = now() - begun;
  for (int i = 0; i < count; i++) printf("%lld\t%d\t%lld\n", requests[i].took, requests[i].status, requests[i].gone);
  printf("%lld\t0\t0\n", wall);
  return 0;
}
