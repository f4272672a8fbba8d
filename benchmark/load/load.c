/* A WebSocket load generator: one thread, epoll, nothing beyond libc.
 *
 *   load --port P [--size 16] [--connections 50] [--window 1] [--refill N]
 *        [--binary | --raw] [--tls] [--broadcast] [--idle 0] [--together 1]
 *        [--settle 0] [--warmup 0.5] [--seconds 2] [--pid PID]...
 *
 * Every connection sends a burst of WINDOW messages in one send(), waits until
 * REFILL of them (default: all) are answered and sends as many again. Every
 * reply is checked: opcode, length and content. --raw does the same without
 * handshake and frames, against a TCP echo. With --broadcast only the first
 * connection sends, and all await each of its messages. --idle connections are
 * open beside, and only answer Pings and the end.
 *
 * Opening, TOGETHER handshakes at a time, is measured too: what it takes of
 * the server's CPU, and what its memory has grown by SETTLE seconds later.
 *
 * Warm-up, measured phase and draining follow each other without a pause, so
 * that both ends of the measured phase lie in the steady state. The CPU time
 * of the server's processes (--pid) is read here, at the same two moments,
 * from their CPU clocks. They count nanoseconds, exited threads included, but
 * those of a process that is running on another core lag by up to a scheduler
 * tick (1 to 10 ms): measure for a second or more.
 *
 * What keeps it cheap: frames are built and masked once; per message only a
 * counter of 8 hexadecimal digits is written over the first and, from 16
 * bytes on, the last 8 bytes of the payload. A reply is compared where it was
 * received, so nothing is ever copied but headers.
 */
#include "load.h"
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { SUB = 32, BUCKETS = 64 * SUB, EVENTS = 256 };

#define SECOND 1000000000ULL
#define STALL (5 * SECOND)              /* without any reply: give up */

struct options opt = {.connections = 50, .together = 1, .window = 1, .opcode = TEXT, .size = 16,
                      .warmup = 0.5, .seconds = 2};
struct conn *conns;
struct totals totals;
enum phase phase = WARMUP;
int epoll_fd;
uint64_t now;
static uint64_t histogram[BUCKETS];

struct moment { uint64_t wall, server_cpu, server_waited, server_rss, own_cpu, own_waited; };

void die(const char *text)
{
    fprintf(stderr, "load: %s\n", text);
    exit(2);
}

void die_of_errno(const char *text)
{
    fprintf(stderr, "load: %s: %s\n", text, strerror(errno));
    exit(2);
}

/* Count an error; only the first is worded. */
void error(const char *format, ...)
{
    if (totals.errors++ > 0)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(totals.first_error, sizeof totals.first_error, format, args);
    va_end(args);
}

void drop(struct conn *c)
{
    if (c->fd < 0)
        return;
    transport_close(c);
    c->fd = -1;
    totals.alive--;
    totals.last_progress = now;
}

static uint64_t nanoseconds(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) != 0)
        die_of_errno("cannot read a clock");
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

uint64_t monotonic(void)
{
    return nanoseconds(CLOCK_MONOTONIC);
}

/* A histogram with 32 steps for each power of two: within 3 %. */
void record_latency(uint64_t ns)
{
    unsigned shift = 0;
    while ((ns >> shift) >= 2 * SUB)
        shift++;
    histogram[shift * SUB + (ns >> shift)]++;
}

static double percentile_us(double fraction)
{
    double wanted = fraction * (double)totals.replies_measured;
    uint64_t seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += histogram[i];
        if (seen > 0 && (double)seen >= wanted) {
            unsigned shift = i < 2 * SUB ? 0 : i / SUB - 1;
            return (double)((uint64_t)(i - shift * SUB) << shift) / 1e3;
        }
    }
    return 0;
}

static uint64_t server_cpu(void)
{
    uint64_t total = 0;
    for (int i = 0; i < opt.n_pids; i++) {
        clockid_t clock;
        if ((errno = clock_getcpuclockid(opt.pids[i], &clock)) != 0)
            die_of_errno("cannot find a server process");
        total += nanoseconds(clock);
    }
    return total;
}

/* How long the main thread of a process was ready to run while others had its core. */
static uint64_t waited(pid_t pid)
{
    char path[40];
    unsigned long long ns = 0;
    snprintf(path, sizeof path, "/proc/%d/schedstat", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%*u %llu", &ns) != 1)
        ns = 0;
    if (file)
        fclose(file);
    return ns;
}

/* Resident memory of a process in bytes. */
static uint64_t resident(pid_t pid)
{
    char path[40];
    unsigned long long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%*u %llu", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t own_cpu(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * SECOND +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000;
}

static struct moment take_moment(void)
{
    struct moment m = {.wall = monotonic(), .server_cpu = server_cpu(), .own_cpu = own_cpu(),
                       .own_waited = waited(getpid())};
    for (int i = 0; i < opt.n_pids; i++) {
        m.server_waited += waited(opt.pids[i]);
        m.server_rss += resident(opt.pids[i]);
    }
    return m;
}

/* Handle what is ready, or wait for it up to 50 ms. */
static void turn(void)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(epoll_fd, events, EVENTS, 50);
    if (n < 0 && errno != EINTR)
        die_of_errno("epoll_wait");
    now = monotonic();
    for (int i = 0; i < n; i++) {
        if (events[i].events & ~(uint32_t)EPOLLOUT)
            readable(events[i].data.ptr);
        else
            send_due(events[i].data.ptr);
    }
    if (phase != DRAINING && opt.connections > 0 && now > totals.last_progress + STALL) {
        error("no reply for 5 s");
        phase = DRAINING;
    }
}

static void run_phase(double seconds)
{
    uint64_t end = now + (uint64_t)(seconds * 1e9);
    while (phase != DRAINING && totals.alive > 0 && now < end)
        turn();
}

/* No more messages: await the replies, then close every connection. Some servers end TCP without
 * an answer to Close now and then; those that answered are reported. */
static void drain(int total)
{
    phase = DRAINING;
    totals.last_progress = now;
    for (int i = 0; i < total; i++)
        send_due(&conns[i]);
    while (totals.alive > 0 && now < totals.last_progress + STALL)
        turn();
    for (int i = 0; i < total; i++)
        if (conns[i].fd >= 0 && conns[i].outstanding > 0)
            error("replies are missing at the end");
    if (totals.alive > 0)
        error("%d connections do not end", totals.alive);
}

static void print_escaped(const char *text)
{
    for (; *text; text++)
        putchar(*text < ' ' || *text > '~' || *text == '"' || *text == '\\' ? '?' : *text);
}

static double since(uint64_t start, uint64_t end)
{
    return (double)(end - start) / 1e9;
}

static void report_opening(int total, const struct moment *a, const struct moment *b,
                           const struct moment *settled)
{
    double seconds = since(a->wall, b->wall), own = since(a->own_cpu, b->own_cpu);
    printf("{\"handshakes\": %d, \"opening_seconds\": %.6f, \"opening_load_busy\": %.3f, ", total,
           seconds, own / seconds);
    if (opt.n_pids > 0)
        printf("\"opening_cpu_seconds\": %.6f, \"rss_grown_kib\": %.1f, ",
               since(a->server_cpu, b->server_cpu),
               ((double)settled->server_rss - (double)a->server_rss) / 1024);
}

static void report(const struct moment *a, const struct moment *b)
{
    double seconds = since(a->wall, b->wall);
    double own = since(a->own_cpu, b->own_cpu), server = since(a->server_cpu, b->server_cpu);
    printf("\"messages\": %llu, \"seconds\": %.6f, \"messages_per_second\": %.1f, ",
           (unsigned long long)totals.replies_measured, seconds,
           (double)totals.replies_measured / seconds);
    printf("\"p50_us\": %.1f, \"p99_us\": %.1f, ", percentile_us(0.5), percentile_us(0.99));
    printf("\"load_cpu_seconds\": %.6f, \"load_busy\": %.3f, \"load_waited\": %.3f, ", own,
           own / seconds, since(a->own_waited, b->own_waited) / seconds);
    if (opt.n_pids > 0)
        printf("\"server_cpu_seconds\": %.6f, \"server_busy\": %.3f, \"server_waited\": %.3f, ",
               server, server / seconds, since(a->server_waited, b->server_waited) / seconds);
    printf("\"all_messages\": %llu, \"clean_closes\": %d, \"errors\": %llu, \"first_error\": \"",
           (unsigned long long)totals.replies, totals.clean_closes,
           (unsigned long long)totals.errors);
    print_escaped(totals.first_error);
    puts("\"}");
}

static double number(const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);
    if (*text == 0 || *end != 0 || !(value >= least && value <= most))
        die("an option is out of range");
    return value;
}

static void parse_options(int argc, char **argv)
{
    static const struct option names[] = {
        {"port", 1, 0, 'p'}, {"size", 1, 0, 's'}, {"connections", 1, 0, 'c'}, {"window", 1, 0, 'w'},
        {"refill", 1, 0, 'r'}, {"binary", 0, 0, 'b'}, {"raw", 0, 0, 'R'}, {"warmup", 1, 0, 'u'},
        {"seconds", 1, 0, 't'}, {"pid", 1, 0, 'P'}, {"tls", 0, 0, 'T'},
        {"broadcast", 0, 0, 'B'}, {"idle", 1, 0, 'i'}, {"together", 1, 0, 'g'},
        {"settle", 1, 0, 'S'}, {0}};
    for (int o; (o = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (o) {
        case 'p': opt.port = (int)number(optarg, 1, 65535); break;
        case 's': opt.size = (size_t)number(optarg, 1, 1 << 28); break;
        case 'c': opt.connections = (int)number(optarg, 0, 100000); break;
        case 'i': opt.idle = (int)number(optarg, 0, 100000); break;
        case 'g': opt.together = (int)number(optarg, 1, 100000); break;
        case 'w': opt.window = (unsigned)number(optarg, 1, 100000); break;
        case 'r': opt.refill = (unsigned)number(optarg, 1, 100000); break;
        case 'b': opt.opcode = BINARY; break;
        case 'R': opt.raw = true; break;
        case 'T': opt.tls = true; break;
        case 'B': opt.broadcast = true; break;
        case 'S': opt.settle = number(optarg, 0, 3600); break;
        case 'u': opt.warmup = number(optarg, 0, 3600); break;
        case 't': opt.seconds = number(optarg, 0.001, 3600); break;
        case 'P':
            if (opt.n_pids == MAX_PIDS)
                die("too many --pid");
            opt.pids[opt.n_pids++] = (pid_t)number(optarg, 1, 1 << 30);
            break;
        default: exit(2);
        }
    }
    if (opt.port == 0 || optind != argc)
        die("usage: load --port PORT [options]; see the head of load.c");
    if (opt.refill == 0 || opt.refill > opt.window)
        opt.refill = opt.window;
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    int total = opt.connections + opt.idle;
    if (total == 0 || !(conns = calloc((size_t)total, sizeof *conns)) ||
        (epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0)
        die_of_errno("cannot start");
    prepare_frames();
    struct moment at_first = take_moment();
    open_connections(total);
    struct moment opened = take_moment();
    totals.last_progress = now = monotonic();
    run_phase(opt.settle);
    struct moment settled = take_moment();
    totals.last_progress = now;
    for (int i = 0; i < opt.connections; i++)
        send_due(&conns[i]);
    run_phase(opt.warmup);
    if (phase == WARMUP)
        phase = MEASURED;
    struct moment start = take_moment();
    run_phase(opt.seconds);
    struct moment end = take_moment();
    drain(total);
    report_opening(total, &at_first, &opened, &settled);
    report(&start, &end);
    free_frames();
    free(conns);
    return totals.errors ? 1 : 0;
}
