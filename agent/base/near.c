
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Which word was meant: the one with the fewest letters that were added, left
 * out, changed, or exchanged with their neighbour, and few enough for its
 * length.  "-" and "_" are the same, and so are "Web" and "web".
 */


#include <ctype.h>
#include <string.h>

#include "near.h"


#define ZLT_NEAR_MAX  40               /* bytes of a word */


static unsigned zlt_near_distance(const char *a, const char *b);
static int zlt_near_letter(char c);
static unsigned zlt_near_least(unsigned a, unsigned b);


void
zlt_near_init(zlt_near_t *n, const char *word)
{
    n->word = word;
    n->best = NULL;
    n->distance = 0;
}


void
zlt_near_try(zlt_near_t *n, const char *known)
{
    size_t    len;
    unsigned  distance;

    len = strlen(known);

    if (len > ZLT_NEAR_MAX || strlen(n->word) > ZLT_NEAR_MAX) {
        return;
    }

    distance = zlt_near_distance(n->word, known);

    if (distance > (len < 4 ? 1 : len < 9 ? 2 : 3)
        || distance >= len || (n->best && distance >= n->distance))
    {
        return;
    }

    n->best = known;
    n->distance = distance;
}


static unsigned
zlt_near_distance(const char *a, const char *b)
{
    int       x, y;
    size_t    i, j, alen, blen;
    unsigned  rows[3][ZLT_NEAR_MAX + 1], *former, *above, *row, *swap;

    alen = strlen(a);
    blen = strlen(b);

    former = rows[0];
    above = rows[1];
    row = rows[2];

    for (j = 0; j <= blen; j++) {
        above[j] = (unsigned) j;
        former[j] = 0;
    }

    for (i = 1; i <= alen; i++) {
        row[0] = (unsigned) i;
        x = zlt_near_letter(a[i - 1]);

        for (j = 1; j <= blen; j++) {
            y = zlt_near_letter(b[j - 1]);

            row[j] = zlt_near_least(above[j - 1] + (x != y),
                                    zlt_near_least(above[j], row[j - 1]) + 1);

            if (i > 1 && j > 1 && x == zlt_near_letter(b[j - 2])
                && y == zlt_near_letter(a[i - 2]))
            {
                row[j] = zlt_near_least(row[j], former[j - 2] + 1);
            }
        }

        swap = former;
        former = above;
        above = row;
        row = swap;
    }

    return above[blen];
}


static int
zlt_near_letter(char c)
{
    return c == '-' ? '_' : tolower((unsigned char) c);
}


static unsigned
zlt_near_least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}
