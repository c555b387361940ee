/*
 * One flow between two network namespaces, both ends in this process, so that its CPU time is that of the whole path.
 *
 *   flow <mode> <from netns> <to netns> <address> <port> <streams> <milliseconds>
 *
 * mode tcp   bulk over <streams> connections      answers: megabits per second
 *      datagrams  of 1,200 bytes as fast as they go  answers: megabits received per second
 *      udp   64-byte datagrams as fast as they go  answers: thousands received per second
 *      dialog  the same, but the first is answered: for connection tracking the others belong to it
 *      rr    one byte to and fro over TCP          answers: thousands of round trips per second
 *      connect  connections one after another, each accepted and reset, both ends on the last CPU  answers: per second
 *
 * Prints: rate TAB CPU microseconds of this process per unit (GB, packet, round trip, connection) TAB p50 TAB p99
 * (microseconds of a round trip, 0 for the other modes) TAB CPU microseconds of the whole machine per unit: what kernel
 * threads do, such as those that encrypt, is only in the latter. Nothing is counted in the first fifth of the time. Senders and receivers are pinned to
 * different CPUs, stream by stream in turns: where the scheduler puts them would be most of the noise.
 * A socket belongs to the namespace it was made in, so one process can hold both ends.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_STREAMS = 16, BULK = 128 << 10, SMALL = 64, LARGE = 1200, BATCH = 64, MAX_TRIPS = 1 << 20 };

struct stream {
  int number, sender, receiver;
  pthread_t threads[2];
  _Alignas(64) atomic_ullong received; /* bytes, or packets */
};

static struct stream streams[MAX_STREAMS];
static const char *mode;
static atomic_int over, counting;
static unsigned trips[MAX_TRIPS]; /* nanoseconds */
static size_t trip_count;
static size_t datagram = SMALL;
static struct sockaddr_storage target;
static socklen_t target_length;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static long long now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static long long cpu_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* What all CPUs have worked since boot: all of /proc/stat's first line but idle and iowait (proc(5)). */
static double machine_us(void) {
  unsigned long long t[8] = {0};
  FILE *stat = fopen("/proc/stat", "r");
  if (stat == NULL) die("/proc/stat");
  int n = fscanf(stat, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7]);
  fclose(stat);
  if (n < 4) die("/proc/stat");
  return (double)(t[0] + t[1] + t[2] + t[5] + t[6] + t[7]) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

static void sleep_ms(long ms) {
  struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
  nanosleep(&t, NULL);
}

static void enter(const char *netns) {
  int fd = open(netns, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || setns(fd, CLONE_NEWNET) < 0) die(netns);
  close(fd);
}

static void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu % (int)sysconf(_SC_NPROCESSORS_ONLN), &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

static int is(const char *name) { return strcmp(mode, name) == 0; }
static int is_datagrams(void) { return is("udp") || is("dialog") || is("datagrams"); }
static int is_bytes(void) { return is("tcp") || is("datagrams"); }

static void *send_bulk(void *argument) {
  struct stream *s = argument;
  static char bytes[BULK];
  pin(s->number);
  while (!over && send(s->sender, bytes, sizeof bytes, MSG_NOSIGNAL) > 0) {}
  shutdown(s->sender, SHUT_WR);
  return NULL;
}

static void *receive_bulk(void *argument) {
  struct stream *s = argument;
  char *bytes = malloc(BULK);
  pin(s->number + 1);
  for (ssize_t n; (n = recv(s->receiver, bytes, BULK, 0)) > 0;) s->received += n;
  free(bytes);
  return NULL;
}

static void *send_small(void *argument) {
  struct stream *s = argument;
  char bytes[LARGE] = {0};
  struct iovec part = {bytes, datagram};
  struct mmsghdr batch[BATCH] = {0};
  for (int i = 0; i < BATCH; i++) batch[i].msg_hdr.msg_iov = &part, batch[i].msg_hdr.msg_iovlen = 1;
  pin(s->number);
  while (!over) sendmmsg(s->sender, batch, BATCH, 0);
  return NULL;
}

static void *receive_small(void *argument) {
  struct stream *s = argument;
  static char bytes[BATCH][LARGE];
  struct iovec parts[BATCH];
  struct mmsghdr batch[BATCH] = {0};
  for (int i = 0; i < BATCH; i++) {
    parts[i] = (struct iovec){bytes[i], LARGE};
    batch[i].msg_hdr.msg_iov = &parts[i], batch[i].msg_hdr.msg_iovlen = 1;
  }
  pin(s->number + 1);
  while (!over) {
    int n = recvmmsg(s->receiver, batch, BATCH, MSG_WAITFORONE, NULL);
    if (n > 0) s->received += is_bytes() ? (unsigned long long)n * datagram : (unsigned long long)n;
  }
  return NULL;
}

static void *ask(void *argument) {
  struct stream *s = argument;
  char byte = 0;
  pin(s->number);
  while (!over) {
    long long begun = now_ns();
    if (send(s->sender, &byte, 1, MSG_NOSIGNAL) != 1 || recv(s->sender, &byte, 1, 0) != 1) break;
    if (!counting) continue;
    if (trip_count < MAX_TRIPS) trips[trip_count++] = (unsigned)(now_ns() - begun);
    s->received++;
  }
  shutdown(s->sender, SHUT_WR);
  return NULL;
}

static void *echo(void *argument) {
  struct stream *s = argument;
  char byte;
  pin(s->number + 1);
  while (recv(s->receiver, &byte, 1, 0) == 1)
    if (send(s->receiver, &byte, 1, MSG_NOSIGNAL) != 1) break;
  return NULL;
}

static struct sockaddr_storage place(const char *address, int port, socklen_t *length) {
  struct sockaddr_storage storage = {0};
  struct sockaddr_in *v4 = (void *)&storage;
  struct sockaddr_in6 *v6 = (void *)&storage;
  if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET, v4->sin_port = htons(port), *length = sizeof *v4;
  } else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6, v6->sin6_port = htons(port), *length = sizeof *v6;
  } else {
    die(address);
  }
  return storage;
}

/* One datagram there and one back. Some may be lost on a busy machine. */
static void answer_once(const struct stream *s) {
  struct sockaddr_storage from;
  socklen_t length = sizeof from;
  struct timeval patience = {1, 0};
  char byte = 0;
  setsockopt(s->sender, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  for (int tries = 0; tries < 5; tries++) {
    send(s->sender, &byte, 1, 0);
    if (recvfrom(s->receiver, &byte, 1, 0, (void *)&from, &length) != 1) continue;
    sendto(s->receiver, &byte, 1, 0, (void *)&from, length);
    if (recv(s->sender, &byte, 1, 0) == 1) return;
  }
  die("no answer");
}

/* Connects, accepts and resets until it is over: none lingers. One thread, which works the packets off where it sends them. */
static void *connect_often(void *argument) {
  struct stream *s = argument;
  struct linger reset = {1, 0};
  struct timeval patience = {5, 0};
  pin((int)sysconf(_SC_NPROCESSORS_ONLN) - 1);
  while (!over) {
    int near = socket(target.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(near, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(near, (void *)&target, target_length) < 0) die("connect");
    int far = accept(s->receiver, NULL, NULL);
    if (far < 0) die("accept");
    setsockopt(near, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(near);
    close(far);
    s->received++;
  }
  return NULL;
}

/* Opens the receiving ends in one namespace and connects the sending ones from the other. */
static void open_streams(char **argv, int count) {
  int one = 1, large = 8 << 20, kind = is_datagrams() ? SOCK_DGRAM : SOCK_STREAM, listener = -1;
  struct timeval patience = {0, 100000};
  target = place(argv[4], atoi(argv[5]), &target_length);
  enter(argv[3]);
  listener = socket(target.ss_family, kind | SOCK_CLOEXEC, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (void *)&target, target_length) < 0) die("bind");
  if (kind == SOCK_STREAM && listen(listener, 128) < 0) die("listen");
  enter(argv[2]);
  streams[0].receiver = listener;
  if (is("connect")) return;
  for (int i = 0; i < count; i++) {
    struct stream *s = &streams[i];
    s->number = i;
    s->sender = socket(target.ss_family, kind | SOCK_CLOEXEC, 0);
    if (connect(s->sender, (void *)&target, target_length) < 0) die("connect");
    s->receiver = kind == SOCK_STREAM ? accept(listener, NULL, NULL) : listener;
    if (s->receiver < 0) die("accept");
    if (kind == SOCK_STREAM) {
      setsockopt(s->sender, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      setsockopt(s->receiver, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    } else {
      setsockopt(s->receiver, SOL_SOCKET, SO_RCVBUFFORCE, &large, sizeof large);
      setsockopt(s->receiver, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
      if (is("dialog")) answer_once(s);
    }
  }
}

static unsigned long long received(int count) {
  unsigned long long sum = 0;
  for (int i = 0; i < count; i++) sum += streams[i].received;
  return sum;
}

static int by_size(const void *a, const void *b) {
  unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
  return (x > y) - (x < y);
}

static double trip_us(double share) {
  return trip_count == 0 ? 0 : trips[(size_t)(share * (trip_count - 1))] / 1e3;
}

int main(int argc, char **argv) {
  if (argc != 8)
    return fprintf(stderr, "usage: flow tcp|datagrams|udp|dialog|rr|connect FROM TO ADDRESS PORT STREAMS MILLISECONDS\n"), 2;
  mode = argv[1];
  int count = atoi(argv[6]);
  long ms = atol(argv[7]);
  if (count < 1 || count > MAX_STREAMS || (!is("tcp") && count > 1)) return fprintf(stderr, "streams?\n"), 2;
  int ends = is("connect") ? 1 : 2;
  if (is("datagrams")) datagram = LARGE;
  void *(*send_end)(void *) = is("tcp") ? send_bulk : is_datagrams() ? send_small : is("connect") ? connect_often : ask;
  void *(*receive_end)(void *) = is("tcp") ? receive_bulk : is_datagrams() ? receive_small : echo;
  open_streams(argv, count);
  for (int i = 0; i < count; i++) {
    pthread_create(&streams[i].threads[0], NULL, send_end, &streams[i]);
    if (ends == 2) pthread_create(&streams[i].threads[1], NULL, receive_end, &streams[i]);
  }
  sleep_ms(ms / 5);
  counting = 1;
  unsigned long long before = received(count);
  double machine = machine_us();
  long long begun = now_ns(), cpu = cpu_ns();
  sleep_ms(ms - ms / 5);
  double units = (double)(received(count) - before), seconds = (double)(now_ns() - begun) / 1e9;
  double cpu_us = (double)(cpu_ns() - cpu) / 1e3, all_us = machine_us() - machine;
  over = 1;
  for (int i = 0; i < count; i++)
    for (int end = 0; end < ends; end++) pthread_join(streams[i].threads[end], NULL);
  qsort(trips, trip_count, sizeof *trips, by_size);
  double rate = (is_bytes() ? units * 8 / 1e6 : is("connect") ? units : units / 1e3) / seconds;
  double work = is_bytes() ? units / 1e9 : units;
  printf("%.3f\t%.3f\t%.2f\t%.2f\t%.3f\n", rate, cpu_us / work, trip_us(0.5), trip_us(0.99), all_us / work);
  return units > 0 ? 0 : 1;
}
