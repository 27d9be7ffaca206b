/* One WebSocket client of the load generator: connect, upgrade, handshake, frames. */
#ifndef CLIENT_H
#define CLIENT_H

#include <stddef.h>
#include <stdint.h>

#define DEPTH_MAX 64 /* requests one client may have in flight */

enum phase { CLOSED, CONNECTING, UPGRADING, CHALLENGED, AUTHENTICATING, READY };

struct bytes {
    uint8_t *data;
    size_t length, capacity;
};

struct client {
    int fd;
    enum phase phase;
    int wants_write;
    unsigned generation; /* which of its connections this is */
    struct bytes in;  /* what is left of an incomplete frame or head */
    struct bytes out; /* what the kernel did not take yet */
    uint64_t next_id;
    uint64_t sent_us[DEPTH_MAX]; /* when request (id % DEPTH_MAX) left */
};

struct callbacks {
    void (*ready)(struct client *client);
    void (*message)(struct client *client, const char *text, size_t length);
    void (*closed)(struct client *client, const char *why);
};

struct target {
    int epoll;
    uint16_t port;
    const char *token; /* NULL: ready after the upgrade, no gateway handshake */
    struct callbacks on;
};

extern struct target target;

uint64_t now_us(void);
int client_open(struct client *client);
void client_close(struct client *client);
void client_event(struct client *client, uint32_t events);
/* Appends one masked text frame; nothing leaves before client_flush. */
void client_queue(struct client *client, const char *text, size_t length);
void client_flush(struct client *client);
/* Whether the first bytes of a message contain a word. */
int starts_with(const char *text, size_t length, const char *word);

#endif
