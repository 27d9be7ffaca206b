/* One WebSocket client of the load generator: connect, upgrade, handshake, frames. */
#define _GNU_SOURCE
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define HEAD_BYTES 160 /* where type, id and ok of a message are looked for */
#define READ_BYTES (1 << 20)

struct target target;

static const uint8_t MASK[4] = {0x37, 0xfa, 0x21, 0x3d};

uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

int starts_with(const char *text, size_t length, const char *word)
{
    return memmem(text, length < HEAD_BYTES ? length : HEAD_BYTES, word, strlen(word)) != NULL;
}

static void append(struct bytes *bytes, const void *data, size_t length)
{
    if (bytes->length + length > bytes->capacity) {
        bytes->capacity = (bytes->length + length) * 2;
        bytes->data = realloc(bytes->data, bytes->capacity);
        if (!bytes->data)
            abort();
    }
    memcpy(bytes->data + bytes->length, data, length);
    bytes->length += length;
}

static void release(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){0};
}

static void watch(struct client *client, int operation, int wants_write)
{
    uint32_t events = EPOLLIN | (wants_write ? (uint32_t)EPOLLOUT : 0u);
    struct epoll_event event = {.events = events, .data.ptr = client};
    client->wants_write = wants_write;
    epoll_ctl(target.epoll, operation, client->fd, &event);
}

int client_open(struct client *client)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(target.port)};
    unsigned generation = client->generation;
    int one = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memset(client, 0, sizeof *client);
    client->generation = generation + 1;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        return -1;
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(client->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) {
        close(client->fd);
        return -1;
    }
    client->phase = CONNECTING;
    watch(client, EPOLL_CTL_ADD, 1);
    return 0;
}

void client_close(struct client *client)
{
    if (client->phase == CLOSED)
        return;
    client->phase = CLOSED;
    close(client->fd);
    release(&client->in);
    release(&client->out);
}

static void fail(struct client *client, const char *why)
{
    client_close(client);
    target.on.closed(client, why);
}

void client_queue(struct client *client, const char *text, size_t length)
{
    uint8_t head[8] = {0x81};
    size_t head_length = 2, start;

    if (length < 126) {
        head[1] = 0x80 | (uint8_t)length;
    } else {
        head[1] = 0x80 | 126;
        head[2] = (uint8_t)(length >> 8);
        head[3] = (uint8_t)length;
        head_length = 4;
    }
    memcpy(head + head_length, MASK, sizeof MASK);
    append(&client->out, head, head_length + sizeof MASK);
    start = client->out.length;
    append(&client->out, text, length);
    for (size_t i = 0; i < length; i++)
        client->out.data[start + i] ^= MASK[i & 3];
}

void client_flush(struct client *client)
{
    if (client->phase == CLOSED || !client->out.length)
        return;
    ssize_t sent = send(client->fd, client->out.data, client->out.length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        fail(client, strerror(errno));
        return;
    }
    if (sent > 0) {
        client->out.length -= (size_t)sent;
        memmove(client->out.data, client->out.data + sent, client->out.length);
    }
    if ((client->out.length > 0) != client->wants_write)
        watch(client, EPOLL_CTL_MOD, client->out.length > 0);
}

static void send_upgrade(struct client *client)
{
    char head[256];
    int length = snprintf(head, sizeof head,
                          "GET / HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                          target.port);
    append(&client->out, head, (size_t)length);
    client->phase = UPGRADING;
    client_flush(client);
}

static void send_connect(struct client *client)
{
    char text[1024];
    int length = snprintf(
        text, sizeof text,
        "{\"type\":\"req\",\"id\":\"c1\",\"method\":\"connect\",\"params\":{\"minProtocol\":3,"
        "\"maxProtocol\":3,\"client\":{\"id\":\"cli\",\"version\":\"1.0.0\","
        "\"platform\":\"linux\",\"mode\":\"cli\"},\"role\":\"operator\",\"scopes\":"
        "[\"operator.read\",\"operator.write\",\"operator.admin\"],\"caps\":[],"
        "\"auth\":{\"token\":\"%s\"}}}",
        target.token);
    client->phase = AUTHENTICATING;
    client_queue(client, text, (size_t)length);
    client_flush(client);
}

static void become_ready(struct client *client)
{
    client->phase = READY;
    target.on.ready(client);
}

static void take_message(struct client *client, const char *text, size_t length)
{
    if (client->phase == READY) {
        target.on.message(client, text, length);
    } else if (client->phase == CHALLENGED) {
        if (starts_with(text, length, "\"connect.challenge\""))
            send_connect(client);
    } else if (starts_with(text, length, "\"type\":\"res\"")) {
        if (starts_with(text, length, "\"ok\":true"))
            become_ready(client);
        else
            fail(client, strndupa(text, length < 300 ? length : 300));
    }
}

static void take_control(struct client *client, int opcode, const uint8_t *data, size_t length)
{
    if (opcode == 8) {
        char why[64];
        int code = length >= 2 ? data[0] << 8 | data[1] : 1005;
        snprintf(why, sizeof why, "closed with %d %.*s", code, length > 2 ? (int)length - 2 : 0,
                 length > 2 ? (const char *)data + 2 : "");
        fail(client, why);
    } else if (opcode == 9) {
        size_t start = client->out.length;
        client_queue(client, (const char *)data, length);
        client->out.data[start] = 0x8a; /* a pong */
        client_flush(client);
    }
}

/* Takes one frame; returns its length, 0 when it is not complete. */
static size_t take_frame(struct client *client, const uint8_t *data, size_t available)
{
    size_t head = 2, length;

    if (available < 2)
        return 0;
    length = data[1] & 0x7f;
    if (length == 126) {
        head = 4;
        length = available < 4 ? 0 : (size_t)data[2] << 8 | data[3];
    } else if (length == 127) {
        head = 10;
        length = 0;
        for (int i = 2; available >= 10 && i < 10; i++)
            length = length << 8 | data[i];
    }
    if (available < head || available < head + length)
        return 0;
    if ((data[0] & 0x0f) >= 8)
        take_control(client, data[0] & 0x0f, data + head, length);
    else
        take_message(client, (const char *)data + head, length);
    return head + length;
}

static size_t take_head(struct client *client, const uint8_t *data, size_t available)
{
    const uint8_t *end = memmem(data, available, "\r\n\r\n", 4);

    if (!end)
        return 0;
    if (memcmp(data, "HTTP/1.1 101", 12)) {
        fail(client, strndupa((const char *)data, available < 60 ? available : 60));
        return 0;
    }
    if (target.token)
        client->phase = CHALLENGED;
    else
        become_ready(client);
    return (size_t)(end - data) + 4;
}

static void take(struct client *client, const uint8_t *data, size_t length)
{
    unsigned generation = client->generation;
    size_t used = 0, step = 1;

    while (client->phase != CLOSED && used < length && step) {
        step = client->phase == UPGRADING ? take_head(client, data + used, length - used)
                                          : take_frame(client, data + used, length - used);
        used += step;
        if (client->generation != generation)
            return; /* reopened: the rest belongs to the connection before */
    }
    if (client->phase != CLOSED && used < length)
        append(&client->in, data + used, length - used);
    if (client->phase == READY)
        client_flush(client); /* everything this read asked for, in one write */
}

static void receive(struct client *client)
{
    static uint8_t buffer[READ_BYTES];
    ssize_t length = recv(client->fd, buffer, sizeof buffer, 0);

    if (length < 0 && errno == EAGAIN)
        return;
    if (length <= 0) {
        fail(client, length ? strerror(errno) : "closed without a close frame");
    } else if (client->in.length) {
        struct bytes whole = client->in;
        client->in = (struct bytes){0};
        append(&whole, buffer, (size_t)length);
        take(client, whole.data, whole.length);
        release(&whole);
    } else {
        take(client, buffer, (size_t)length);
    }
}

void client_event(struct client *client, uint32_t events)
{
    if (client->phase == CONNECTING && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error)
            fail(client, strerror(error));
        else
            send_upgrade(client);
        return;
    }
    if (events & EPOLLOUT)
        client_flush(client);
    if (client->phase != CLOSED && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
        receive(client);
}
