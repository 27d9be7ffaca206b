/* Load generator: many WebSocket clients in one epoll loop, results as one line of JSON.
 *
 * load requests PORT TOKEN CLIENTS DEPTH SECONDS METHOD    closed loop, answers per second
 * load fanout   PORT TOKEN CLIENTS SECONDS METHOD EVENT    one asks, all receive the event
 * load connects PORT TOKEN CLIENTS SECONDS                 connect, close, again
 * load hold     PORT TOKEN CLIENTS                         connected until stdin closes
 *
 * TOKEN "-": a plain WebSocket server, ready after the upgrade. METHOD may be followed by
 * its params as JSON. The first fifth of SECONDS warms up and is not counted.
 */
#define _GNU_SOURCE
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#define OPENING_MAX 32       /* handshakes in flight while clients are opened */
#define SAMPLES_MAX (1 << 22)
#define PATIENCE_US 10000000 /* nothing at all for so long is an error */

static struct client *clients;
static int clients_count, opened_count, ready_count, depth = 1;
static uint64_t done_count, warm_count, errors_count, samples_count, events_count, round_start_us;
static uint32_t *samples;
static const char *method, *event_word;
static int is_measuring, is_reopening, is_over;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "load: %s: %s\n", what, why);
    exit(1);
}

static void sample(uint64_t since_us)
{
    if (is_measuring && samples_count < SAMPLES_MAX)
        samples[samples_count++] = (uint32_t)(now_us() - since_us);
}

static void ask(struct client *client)
{
    char text[4096];
    uint64_t id = client->next_id++;
    const char *params = strchr(method, ' ');
    int name = params ? (int)(params - method) : (int)strlen(method);
    int length = snprintf(text, sizeof text,
                          "{\"type\":\"req\",\"id\":\"r%lu\",\"method\":\"%.*s\"%s%s}",
                          (unsigned long)id, name, method, params ? ",\"params\":" : "",
                          params ? params + 1 : "");

    client->sent_us[id % DEPTH_MAX] = now_us();
    client_queue(client, text, (size_t)length);
}

static void answered(struct client *client, const char *text, size_t length)
{
    size_t head = length < 160 ? length : 160;
    const char *id = memmem(text, head, "\"id\":\"r", 7);

    if (!id || !starts_with(text, length, "\"type\":\"res\""))
        return; /* an event in between */
    if (!starts_with(text, length, "\"ok\":true") && !errors_count++)
        fprintf(stderr, "load: first error: %.*s\n", (int)(length < 300 ? length : 300), text);
    sample(client->sent_us[strtoul(id + 7, NULL, 10) % DEPTH_MAX]);
    done_count++;
    ask(client);
}

static void start_round(void)
{
    events_count = 0;
    round_start_us = now_us();
    ask(&clients[0]);
    client_flush(&clients[0]);
}

static void delivered(struct client *client, const char *text, size_t length)
{
    (void)client;
    if (!starts_with(text, length, event_word)) {
        if (starts_with(text, length, "\"ok\":false"))
            die("refused", strndupa(text, length < 300 ? length : 300));
        return;
    }
    done_count++;
    sample(round_start_us);
    if (++events_count == (uint64_t)clients_count)
        start_round();
}

static void reopen(struct client *client)
{
    sample(client->sent_us[0]);
    done_count++;
    client_close(client);
    if (client_open(client))
        die("connect", "no more ports or descriptors");
    client->sent_us[0] = now_us();
}

static void on_ready(struct client *client)
{
    ready_count++;
    if (is_reopening)
        reopen(client);
}

static void ignore(struct client *client, const char *text, size_t length)
{
    (void)client, (void)text, (void)length;
}

static void on_closed(struct client *client, const char *why)
{
    (void)client;
    die("a connection was lost", why);
}

static void turn(int timeout_ms)
{
    struct epoll_event events[512];
    int count = epoll_wait(target.epoll, events, 512, timeout_ms);

    for (int i = 0; i < count; i++) {
        if (!events[i].data.ptr)
            is_over = 1; /* stdin: the parent closed it */
        else
            client_event(events[i].data.ptr, events[i].events);
    }
}

static void open_all(void)
{
    uint64_t last_us = now_us();

    while (ready_count < clients_count) {
        int before = ready_count;
        while (opened_count < clients_count && opened_count - ready_count < OPENING_MAX)
            if (client_open(&clients[opened_count++]))
                die("connect", "no more ports or descriptors");
        turn(100);
        if (ready_count > before)
            last_us = now_us();
        else if (now_us() - last_us > PATIENCE_US)
            die("handshake", "no client became ready for 10 s");
    }
}

static void turn_until(uint64_t end_us)
{
    uint64_t last_us = now_us(), last_count = done_count;

    while (now_us() < end_us) {
        turn(50);
        if (done_count != last_count) {
            last_count = done_count;
            last_us = now_us();
        } else if (now_us() - last_us > PATIENCE_US) {
            die("silence", "no answer for 10 s");
        }
    }
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void measure(double seconds)
{
    uint64_t start_us = now_us(), warm_us = (uint64_t)(seconds * 0.2e6);

    turn_until(start_us + warm_us);
    warm_count = done_count;
    done_count = errors_count = 0;
    is_measuring = 1;
    start_us = now_us();
    turn_until(start_us + (uint64_t)(seconds * 0.8e6));
    double took_s = (double)(now_us() - start_us) / 1e6;
    qsort(samples, samples_count, sizeof *samples, compare);
    uint32_t none = 0, *p50 = samples_count ? &samples[samples_count / 2] : &none;
    uint32_t *p99 = samples_count ? &samples[samples_count * 99 / 100] : &none;
    printf("{\"per_s\":%.1f,\"count\":%lu,\"warm_count\":%lu,\"errors\":%lu,"
           "\"p50_us\":%u,\"p99_us\":%u}\n",
           (double)done_count / took_s, (unsigned long)done_count, (unsigned long)warm_count,
           (unsigned long)errors_count, *p50, *p99);
}

static void run_requests(double seconds)
{
    target.on.message = answered;
    open_all();
    for (int i = 0; i < clients_count; i++) {
        for (int k = 0; k < depth; k++)
            ask(&clients[i]);
        client_flush(&clients[i]);
    }
    measure(seconds);
}

static void run_fanout(double seconds)
{
    target.on.message = delivered;
    open_all();
    turn(200); /* what the connects themselves announced */
    start_round();
    measure(seconds);
}

static void run_connects(double seconds)
{
    is_reopening = 1;
    for (int i = 0; i < clients_count; i++) {
        if (client_open(&clients[i]))
            die("connect", "no more ports or descriptors");
        clients[i].sent_us[0] = now_us();
    }
    measure(seconds);
}

static void run_hold(void)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    uint64_t start_us = now_us();

    open_all();
    printf("{\"ready\":%d,\"seconds\":%.3f}\n", ready_count, (double)(now_us() - start_us) / 1e6);
    fflush(stdout);
    epoll_ctl(target.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    while (!is_over)
        turn(1000);
}

int main(int argc, char **argv)
{
    struct rlimit files;

    if (argc < 5)
        die("usage", "load requests|fanout|connects|hold PORT TOKEN CLIENTS ...");
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    target.epoll = epoll_create1(EPOLL_CLOEXEC);
    target.port = (uint16_t)atoi(argv[2]);
    target.token = strcmp(argv[3], "-") ? argv[3] : NULL;
    target.on = (struct callbacks){on_ready, ignore, on_closed};
    clients_count = atoi(argv[4]);
    clients = calloc((size_t)clients_count, sizeof *clients);
    samples = malloc(SAMPLES_MAX * sizeof *samples);
    if (!strcmp(argv[1], "requests") && argc == 8) {
        depth = atoi(argv[5]);
        method = argv[7];
        run_requests(atof(argv[6]));
    } else if (!strcmp(argv[1], "fanout") && argc == 8) {
        method = argv[6];
        event_word = argv[7];
        run_fanout(atof(argv[5]));
    } else if (!strcmp(argv[1], "connects") && argc == 6) {
        run_connects(atof(argv[5]));
    } else if (!strcmp(argv[1], "hold") && argc == 5) {
        run_hold();
    } else {
        die("usage", "see the top of load.c");
    }
    return 0;
}
