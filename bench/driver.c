/*
 * Executes CNI requests and measures each from just before posix_spawn to the end of the process, so that nothing of
 * Node is in the figures. Usage: driver <parallel 0|1> < requests > times
 * A request is a line: executable TAB file of standard input TAB KEY=VALUE TAB KEY=VALUE …
 * Answers, one line each, in order: nanoseconds TAB exit code. With parallel 1 all start at once; a last line holds
 * the wall time of the whole.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_REQUESTS = 4096, MAX_FIELDS = 32 };

struct request {
  char *executable, *input;
  char *environment[MAX_FIELDS];
  pid_t pid;
  long long started, took;
  int status;
};

static struct request requests[MAX_REQUESTS];

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void parse(struct request *r, char *line) {
  char *save = NULL;
  r->executable = strtok_r(line, "\t", &save);
  r->input = strtok_r(NULL, "\t", &save);
  for (int i = 0; i < MAX_FIELDS - 1 && (r->environment[i] = strtok_r(NULL, "\t", &save)); i++) {}
}

static void start(struct request *r) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, r->input, O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  char *argv[] = {r->executable, NULL};
  r->started = now();
  if (posix_spawn(&r->pid, r->executable, &actions, NULL, argv, r->environment) != 0) {
    perror(r->executable);
    exit(1);
  }
  posix_spawn_file_actions_destroy(&actions);
}

static void finish(struct request *r, int status) {
  r->took = now() - r->started;
  r->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

int main(int argc, char **argv) {
  int parallel = argc > 1 && atoi(argv[1]), count = 0, status;
  char *line = NULL;
  size_t size = 0;
  for (ssize_t n; count < MAX_REQUESTS && (n = getline(&line, &size, stdin)) > 0; count++, line = NULL, size = 0) {
    if (line[n - 1] == '\n') line[n - 1] = 0;
    parse(&requests[count], line);
  }
  long long begun = now();
  for (int i = 0; i < count; i++) {
    start(&requests[i]);
    if (parallel) continue;
    waitpid(requests[i].pid, &status, 0);
    finish(&requests[i], status);
  }
  for (int left = parallel ? count : 0; left > 0; left--) {
    pid_t pid = wait(&status);
    for (int i = 0; i < count; i++)
      if (requests[i].pid == pid) finish(&requests[i], status);
  }
  long long wall = now() - begun;
  for (int i = 0; i < count; i++) printf("%lld\t%d\n", requests[i].took, requests[i].status);
  printf("%lld\t0\n", wall);
  return 0;
}
