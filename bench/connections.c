/*
 * New TCP connections between two network namespaces, one after another, both ends in this process.
 *
 *   connections <from netns> <to netns> <IPv4 address> <port> <milliseconds>
 *
 * Each is connected, accepted and reset, so that none lingers. Prints: connections per second TAB CPU microseconds per
 * connection, which is that of the whole path: the packets are worked off where they are sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what) {
  perror(what);
  exit(1);
}

static double seconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void enter(const char *path) {
  int fd = open(path, O_RDONLY);
  if (fd < 0 || setns(fd, CLONE_NEWNET) < 0) die(path);
  close(fd);
}

static int listen_at(const struct sockaddr_in *address) {
  int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (const void *)address, sizeof *address) < 0 || listen(fd, 128) < 0) die("listen");
  return fd;
}

static void connect_once(int listener, const struct sockaddr_in *address) {
  struct linger reset = {1, 0};
  struct timeval patience = {5, 0};
  int near = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(near, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (connect(near, (const void *)address, sizeof *address) < 0) die("connect");
  int far = accept(listener, NULL, NULL);
  if (far < 0) die("accept");
  setsockopt(near, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  close(near);
  close(far);
}

int main(int count, char **argument) {
  if (count != 6) return 2;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argument[4]))};
  if (inet_pton(AF_INET, argument[3], &address.sin_addr) != 1) return 2;
  cpu_set_t last;
  CPU_ZERO(&last);
  CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &last);
  sched_setaffinity(0, sizeof last, &last);
  enter(argument[2]);
  int listener = listen_at(&address);
  enter(argument[1]);
  long made = 0;
  double began = seconds(CLOCK_MONOTONIC), worked = seconds(CLOCK_PROCESS_CPUTIME_ID);
  double end = began + atof(argument[5]) / 1e3;
  for (; seconds(CLOCK_MONOTONIC) < end; made += 1) connect_once(listener, &address);
  double wall = seconds(CLOCK_MONOTONIC) - began, cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - worked;
  printf("%.0f\t%.3f\n", (double)made / wall, cpu * 1e6 / (double)made);
  return 0;
}
