// A long line: connections to a port of this machine reach another one, and each byte takes some milliseconds both ways. In
// place of tc-netem(8), which not every kernel has.
//
//   relay PORT TARGET MILLISECONDS COUNTS [EACH ALL]
//
// The file COUNTS has the bytes that came back from the target, and the number of connections. EACH and ALL are the line's speed in
// MB/s: of each connection, and of all together, in each direction. 0 means as fast as the processors are.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

// How many bytes leave a line's pipe at a time.
struct chunk { struct chunk *next; double due; ssize_t count; };

// What is on its way stays in a pipe: splice(2) moves it there and on without a copy, so that the line takes little of the
// processors that both its ends need.
struct line {
  int from, to, pipe[2], is_reply;
  double free_at;
  struct chunk *first, **last;
  ssize_t waiting;
  pthread_mutex_t lock;
  pthread_cond_t changed;
};

// In bytes a second; 0 without a limit.
static double speed_of_each, speed_of_all;
static double delay;
static struct { atomic_long bytes, connections; } *counts;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

// Occupies a line for as long as some bytes take. Returns when it is free again. `have_waited` says whether the bytes were waiting
// for the line; otherwise they have just come.
static double occupy(double *free_at, double speed, ssize_t count, int have_waited) {
  if (speed <= 0) return 0;
  // What a late thread has missed is made up for.
  const double earliest = now() - (have_waited ? .005 : 0);
  return *free_at = (*free_at > earliest ? *free_at : earliest) + (double)count / speed;
}

// The time at which the last of some bytes leave this end.
static double leave(struct line *line, ssize_t count, int have_waited) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  static double all_free_at[2];
  pthread_mutex_lock(&lock);
  const double all = occupy(&all_free_at[line->is_reply], speed_of_all, count, 1);
  pthread_mutex_unlock(&lock);
  const double each = occupy(&line->free_at, speed_of_each, count, have_waited);
  return each > all ? each : all;
}

static void wait_until(double time) {
  const double left = time - now();
  if (left > 0) usleep((useconds_t)(left * 1e6));
}

// Waits for bytes, and moves them into the pipe. splice(2) would wait too, but meanwhile block every other use of the pipe.
// `have_waited` says whether bytes were there before.
static ssize_t fill(struct line *line, int *have_waited) {
  struct pollfd come = {.fd = line->from, .events = POLLIN};
  *have_waited = poll(&come, 1, 0) == 1;
  for (;;) {
    struct pollfd room = {.fd = line->pipe[1], .events = POLLOUT};
    if (poll(&room, 1, -1) < 0 || poll(&come, 1, -1) < 0) return 0;
    const ssize_t count = splice(line->from, NULL, line->pipe[1], NULL, 64 << 10, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (count >= 0) return count;
    if (errno != EAGAIN) return 0;
  }
}

// Takes what comes at one end, at most 6 MiB that have not left yet: as much as Linux keeps of a connection (tcp_rmem).
static void *take(void *argument) {
  struct line *line = argument;
  for (ssize_t count = 1; count > 0;) {
    struct chunk *chunk = malloc(sizeof *chunk);
    int have_waited;
    count = chunk->count = fill(line, &have_waited);
    wait_until(leave(line, count, have_waited));
    chunk->due = now() + delay;
    chunk->next = NULL;
    if (line->is_reply) counts->bytes += count;
    pthread_mutex_lock(&line->lock);
    while (line->waiting > 6 << 20) pthread_cond_wait(&line->changed, &line->lock);
    *line->last = chunk;
    line->last = &chunk->next;
    line->waiting += count;
    pthread_cond_broadcast(&line->changed);
    pthread_mutex_unlock(&line->lock);
  }
  close(line->pipe[1]);
  return NULL;
}

// Gives it at the other end when it is due.
static void *give(void *argument) {
  struct line *line = argument;
  for (int open = 1; open;) {
    pthread_mutex_lock(&line->lock);
    while (!line->first) pthread_cond_wait(&line->changed, &line->lock);
    struct chunk *chunk = line->first;
    line->first = chunk->next;
    if (!line->first) line->last = &line->first;
    line->waiting -= chunk->count;
    pthread_cond_broadcast(&line->changed);
    pthread_mutex_unlock(&line->lock);
    wait_until(chunk->due);
    open = chunk->count > 0;
    for (ssize_t done = 0; open && done < chunk->count;) {
      const ssize_t count = splice(line->pipe[0], NULL, line->to, NULL, (size_t)(chunk->count - done), SPLICE_F_MOVE);
      if (count <= 0) open = 0;
      done += count;
    }
    free(chunk);
  }
  // The other thread ends too, since what comes now has nowhere to go.
  shutdown(line->from, SHUT_RD);
  shutdown(line->to, SHUT_WR);
  close(line->pipe[0]);
  return NULL;
}

static void begin(int from, int to, int is_reply) {
  struct line *line = calloc(1, sizeof *line);
  *line = (struct line){.from = from, .to = to, .is_reply = is_reply};
  line->last = &line->first;
  if (pipe(line->pipe) != 0) return perror("relay");
  // Without CAP_SYS_RESOURCE a pipe has 256 buffers: 1 MiB, or more where they are larger than a page. That was enough for 200 MB/s.
  if (fcntl(line->pipe[1], F_SETPIPE_SZ, 8 << 20) < 0) fcntl(line->pipe[1], F_SETPIPE_SZ, 1 << 20);
  pthread_mutex_init(&line->lock, NULL);
  pthread_cond_init(&line->changed, NULL);
  pthread_t thread;
  pthread_create(&thread, NULL, take, line);
  pthread_detach(thread);
  pthread_create(&thread, NULL, give, line);
  pthread_detach(thread);
}

int main(int count, char **arguments) {
  if (count != 5 && count != 7) return fprintf(stderr, "usage: relay PORT TARGET MILLISECONDS COUNTS [EACH ALL]\n"), 64;
  signal(SIGPIPE, SIG_IGN);
  delay = atof(arguments[3]) / 1000;
  if (count == 7) speed_of_each = atof(arguments[5]) * 1e6, speed_of_all = atof(arguments[6]) * 1e6;
  const int file = open(arguments[4], O_RDWR | O_CREAT | O_TRUNC, 0644);
  if (file < 0 || ftruncate(file, sizeof *counts) != 0) return perror(arguments[4]), 1;
  counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(arguments[1])),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_in there = here;
  there.sin_port = htons((unsigned short)atoi(arguments[2]));
  const int server = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
  setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(server, (struct sockaddr *)&here, sizeof here) != 0 || listen(server, 100) != 0) return perror("relay"), 1;
  for (int client; (client = accept(server, NULL, NULL)) >= 0;) {
    const int target = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(target, (struct sockaddr *)&there, sizeof there) != 0) {
      close(client), close(target);
      continue;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(target, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    counts->connections++;
    begin(client, target, 0);
    begin(target, client, 1);
  }
  return 1;
}
