/*
 * One flow between two network namespaces, both ends in this process, so that its CPU time is that of the whole path.
 *
 *   flow <mode> <from netns> <to netns> <address> <port> <streams> <milliseconds>
 *
 * mode tcp   bulk over <streams> connections      answers: megabits per second
 *      udp   64-byte datagrams as fast as they go  answers: thousands received per second
 *      dialog  the same, but the first is answered: for connection tracking the others belong to it
 *      rr    one byte to and fro over TCP          answers: thousands of round trips per second
 *
 * Prints: rate TAB CPU microseconds per unit (GB, packet, round trip) TAB p50 TAB p99 (microseconds of a round trip, 0
 * for the other modes). Nothing is counted in the first fifth of the time. Senders and receivers are pinned to
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

enum { MAX_STREAMS = 16, BULK = 128 << 10, SMALL = 64, BATCH = 64, MAX_TRIPS = 1 << 20 };

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
static int is_datagrams(void) { return is("udp") || is("dialog"); }

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
  char bytes[SMALL] = {0};
  struct iovec part = {bytes, sizeof bytes};
  struct mmsghdr batch[BATCH] = {0};
  for (int i = 0; i < BATCH; i++) batch[i].msg_hdr.msg_iov = &part, batch[i].msg_hdr.msg_iovlen = 1;
  pin(s->number);
  while (!over) sendmmsg(s->sender, batch, BATCH, 0);
  return NULL;
}

static void *receive_small(void *argument) {
  struct stream *s = argument;
  char bytes[BATCH][SMALL];
  struct iovec parts[BATCH];
  struct mmsghdr batch[BATCH] = {0};
  for (int i = 0; i < BATCH; i++) {
    parts[i] = (struct iovec){bytes[i], SMALL};
    batch[i].msg_hdr.msg_iov = &parts[i], batch[i].msg_hdr.msg_iovlen = 1;
  }
  pin(s->number + 1);
  while (!over) {
    int n = recvmmsg(s->receiver, batch, BATCH, MSG_WAITFORONE, NULL);
    if (n > 0) s->received += n;
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

/* Opens the receiving ends in one namespace and connects the sending ones from the other. */
static void open_streams(char **argv, int count) {
  socklen_t length;
  int one = 1, large = 8 << 20, kind = is_datagrams() ? SOCK_DGRAM : SOCK_STREAM, listener = -1;
  struct sockaddr_storage to = place(argv[4], atoi(argv[5]), &length);
  struct timeval patience = {0, 100000};
  enter(argv[3]);
  listener = socket(to.ss_family, kind | SOCK_CLOEXEC, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (void *)&to, length) < 0) die("bind");
  if (kind == SOCK_STREAM && listen(listener, MAX_STREAMS) < 0) die("listen");
  enter(argv[2]);
  for (int i = 0; i < count; i++) {
    struct stream *s = &streams[i];
    s->number = i;
    s->sender = socket(to.ss_family, kind | SOCK_CLOEXEC, 0);
    if (connect(s->sender, (void *)&to, length) < 0) die("connect");
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
  if (argc != 8) return fprintf(stderr, "usage: flow tcp|udp|dialog|rr FROM TO ADDRESS PORT STREAMS MILLISECONDS\n"), 2;
  mode = argv[1];
  int count = atoi(argv[6]);
  long ms = atol(argv[7]);
  if (count < 1 || count > MAX_STREAMS || (!is("tcp") && count > 1)) return fprintf(stderr, "streams?\n"), 2;
  void *(*send_end)(void *) = is("tcp") ? send_bulk : is_datagrams() ? send_small : ask;
  void *(*receive_end)(void *) = is("tcp") ? receive_bulk : is_datagrams() ? receive_small : echo;
  open_streams(argv, count);
  for (int i = 0; i < count; i++) {
    pthread_create(&streams[i].threads[0], NULL, receive_end, &streams[i]);
    pthread_create(&streams[i].threads[1], NULL, send_end, &streams[i]);
  }
  sleep_ms(ms / 5);
  counting = 1;
  unsigned long long before = received(count);
  long long begun = now_ns(), cpu = cpu_ns();
  sleep_ms(ms - ms / 5);
  double units = (double)(received(count) - before), seconds = (double)(now_ns() - begun) / 1e9;
  double cpu_us = (double)(cpu_ns() - cpu) / 1e3;
  over = 1;
  for (int i = 0; i < count; i++)
    for (int end = 0; end < 2; end++) pthread_join(streams[i].threads[end], NULL);
  qsort(trips, trip_count, sizeof *trips, by_size);
  double rate = is("tcp") ? units * 8 / 1e6 / seconds : units / 1e3 / seconds;
  printf("%.3f\t%.3f\t%.2f\t%.2f\n", rate, cpu_us / (is("tcp") ? units / 1e9 : units), trip_us(0.5), trip_us(0.99));
  return units > 0 ? 0 : 1;
}
