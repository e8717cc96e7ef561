#include <unistd.h>
#include "visit.h"
zlt_visits_t *zlt_visits_create(zlt_access_t *x, int fd) { (void) x; (void) fd; return NULL; }
void zlt_visits_deaf(zlt_visits_t *v) { (void) v; }
unsigned zlt_visits_count(const zlt_visits_t *v) { (void) v; return 0; }
void zlt_visits_destroy(zlt_visits_t *v) { (void) v; }
void zlt_visits_tick(zlt_visits_t *v) { (void) v; }
void zlt_visits_opened(zlt_channel_t *ch, const uint8_t *data, size_t len) { (void) ch; (void) data; (void) len; }
void zlt_visits_lost(zlt_visits_t *v, const char *why) { (void) v; (void) why; }
