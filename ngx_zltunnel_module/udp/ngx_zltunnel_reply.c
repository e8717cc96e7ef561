
/*
 * Copyright (C) zltunnel authors
 */

/*
 * Datagrams to clients: many by one sendmmsg(), those of one size to one client
 * as one message that the kernel cuts (UDP_SEGMENT).
 *
 * They are gathered while a batch from an agent is read, and point into it.
 */


#include "ngx_zltunnel.h"
#include "ngx_zltunnel_reply.h"
#include "ngx_zltunnel_carrier.h"
#include "ngx_zltunnel_registry.h"
#include "ngx_zltunnel_udp.h"
#include "ngx_zltunnel_udp_session.h"

#include <netinet/udp.h>


#define NGX_ZLTUNNEL_UDP_IOVS       256
#define NGX_ZLTUNNEL_UDP_SEGMENTS   64      /* UDP_MAX_SEGMENTS */
#define NGX_ZLTUNNEL_UDP_SEND       65507   /* of one message */


static void ngx_zltunnel_udp_single(ngx_uint_t i);
static void ngx_zltunnel_udp_control(ngx_uint_t i, size_t segment);


static struct {
    ngx_uint_t           nmsgs;
    ngx_uint_t           niovs;
    struct mmsghdr       msgs[NGX_ZLTUNNEL_UDP_BATCH];
    ngx_zltunnel_udp_t  *udp[NGX_ZLTUNNEL_UDP_BATCH];
    size_t               segment[NGX_ZLTUNNEL_UDP_BATCH];
    size_t               total[NGX_ZLTUNNEL_UDP_BATCH];
    unsigned             closed[NGX_ZLTUNNEL_UDP_BATCH];
    struct iovec         iovs[NGX_ZLTUNNEL_UDP_IOVS];
    ngx_zltunnel_udp_control_t  control[NGX_ZLTUNNEL_UDP_BATCH];
} ngx_zltunnel_replies;

static ngx_uint_t        ngx_zltunnel_no_segments;


void
ngx_zltunnel_reply(ngx_zltunnel_udp_t *udp, const u_char *data, size_t len)
{
    ngx_uint_t         i;
    struct iovec      *iov;
    struct msghdr     *msg;
    ngx_connection_t  *c;

    c = udp->connection;

    if (len > NGX_ZLTUNNEL_UDP_SEND && c->sockaddr->sa_family == AF_INET) {
        ngx_zltunnel_carrier_drop(udp->carrier, udp, NGX_ZLTUNNEL_DROP_SEND);
        return;
    }

    udp->active = ngx_current_msec;

    if (ngx_zltunnel_replies.nmsgs == NGX_ZLTUNNEL_UDP_BATCH
        || ngx_zltunnel_replies.niovs == NGX_ZLTUNNEL_UDP_IOVS
        || (ngx_zltunnel_replies.nmsgs
            && ngx_zltunnel_replies.udp[0]->connection->fd != c->fd))
    {
        ngx_zltunnel_reply_flush();
    }

    iov = &ngx_zltunnel_replies.iovs[ngx_zltunnel_replies.niovs++];
    iov->iov_base = (void *) data;
    iov->iov_len = len;

    /* one more segment of the last message, if it is like the others */

    i = ngx_zltunnel_replies.nmsgs;

    if (i && ngx_zltunnel_replies.udp[i - 1] == udp
        && !ngx_zltunnel_replies.closed[i - 1]
        && len && len <= ngx_zltunnel_replies.segment[i - 1]
        && ngx_zltunnel_replies.total[i - 1] + len <= NGX_ZLTUNNEL_UDP_SEND
        && !ngx_zltunnel_no_segments)
    {
        i--;
        msg = &ngx_zltunnel_replies.msgs[i].msg_hdr;

        msg->msg_iovlen++;
        ngx_zltunnel_replies.total[i] += len;

        if (len < ngx_zltunnel_replies.segment[i]
            || msg->msg_iovlen == NGX_ZLTUNNEL_UDP_SEGMENTS)
        {
            ngx_zltunnel_replies.closed[i] = 1;
        }

    } else {
        msg = &ngx_zltunnel_replies.msgs[i].msg_hdr;

        msg->msg_name = c->sockaddr;
        msg->msg_namelen = c->socklen;
        msg->msg_iov = iov;
        msg->msg_iovlen = 1;
        msg->msg_flags = 0;

        ngx_zltunnel_replies.udp[i] = udp;
        ngx_zltunnel_replies.segment[i] = len;
        ngx_zltunnel_replies.total[i] = len;
        ngx_zltunnel_replies.closed[i] = 0;
        ngx_zltunnel_replies.nmsgs++;
    }

    udp->datagrams[1]++;

    if (udp->responses > 0
        && udp->datagrams[1] >= udp->datagrams[0] * udp->responses)
    {
        ngx_zltunnel_udp_session_end(udp, NGX_ZLTUNNEL_UDP_DONE);
    }
}


void
ngx_zltunnel_reply_flush(void)
{
    int                         n;
    ngx_err_t                   err;
    ngx_fd_t                    fd;
    ngx_uint_t                  i, sent;
    struct msghdr              *msg;
    ngx_zltunnel_udp_t         *udp;
    ngx_zltunnel_sh_counter_t  *counter;

    if (ngx_zltunnel_replies.nmsgs == 0) {
        return;
    }

    fd = ngx_zltunnel_replies.udp[0]->connection->fd;

    for (i = 0; i < ngx_zltunnel_replies.nmsgs; i++) {
        msg = &ngx_zltunnel_replies.msgs[i].msg_hdr;

        ngx_zltunnel_udp_control(i, msg->msg_iovlen > 1
                                    ? ngx_zltunnel_replies.segment[i] : 0);
    }

    for (i = 0; i < ngx_zltunnel_replies.nmsgs; i += sent) {

        n = sendmmsg(fd, ngx_zltunnel_replies.msgs + i,
                     ngx_zltunnel_replies.nmsgs - i, MSG_DONTWAIT);

        sent = (n > 0) ? n : 1;

        if (n <= 0) {
            err = ngx_socket_errno;

            if (err == NGX_EINTR) {
                sent = 0;
                continue;
            }

            if (err == EIO && ngx_zltunnel_replies.msgs[i].msg_hdr.msg_iovlen
                              > 1)
            {
                /* the device cannot cut messages */
                ngx_zltunnel_no_segments = 1;
            }

            ngx_zltunnel_udp_single(i);
            continue;
        }

        for (n = i; n < (int) (i + sent); n++) {
            udp = ngx_zltunnel_replies.udp[n];
            counter = udp->carrier->counter;

            counter->datagrams[1] +=
                              ngx_zltunnel_replies.msgs[n].msg_hdr.msg_iovlen;
            counter->bytes[1] += ngx_zltunnel_replies.total[n];
            udp->connection->sent += ngx_zltunnel_replies.total[n];
        }
    }

    ngx_zltunnel_replies.nmsgs = 0;
    ngx_zltunnel_replies.niovs = 0;
}


/* a message that was refused: each of its datagrams by itself, or none */

static void
ngx_zltunnel_udp_single(ngx_uint_t i)
{
    ngx_err_t                   err;
    ngx_uint_t                  k, niovs;
    struct iovec               *iov;
    struct msghdr              *msg;
    ngx_zltunnel_udp_t         *udp;
    ngx_zltunnel_sh_counter_t  *counter;

    err = ngx_socket_errno;
    udp = ngx_zltunnel_replies.udp[i];
    counter = udp->carrier->counter;
    msg = &ngx_zltunnel_replies.msgs[i].msg_hdr;
    iov = msg->msg_iov;
    niovs = msg->msg_iovlen;

    ngx_zltunnel_udp_control(i, 0);

    for (k = 0; k < niovs; k++) {
        msg->msg_iov = &iov[k];
        msg->msg_iovlen = 1;

        if (niovs > 1) {

            if (sendmsg(udp->connection->fd, msg, MSG_DONTWAIT) != -1) {
                counter->datagrams[1]++;
                counter->bytes[1] += iov[k].iov_len;
                udp->connection->sent += iov[k].iov_len;
                continue;
            }

            err = ngx_socket_errno;
        }

        ngx_zltunnel_carrier_drop(udp->carrier, udp, NGX_ZLTUNNEL_DROP_SEND);

        if (err != NGX_EAGAIN) {
            ngx_log_error(NGX_LOG_INFO, udp->connection->log, err,
                          "sendmsg() of a datagram of %uz bytes failed",
                          iov[k].iov_len);
        }
    }
}


/* our address, where the socket has many, and UDP_SEGMENT */

static void
ngx_zltunnel_udp_control(ngx_uint_t i, size_t segment)
{
    u_char               *control;
    size_t                len;
    uint16_t              size;
    struct msghdr        *msg;
    ngx_connection_t     *c;
    struct cmsghdr       *cmsg;
    struct in_pktinfo     pkt;
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct in6_pktinfo    pkt6;
    struct sockaddr_in6  *sin6;
#endif

    c = ngx_zltunnel_replies.udp[i]->connection;
    msg = &ngx_zltunnel_replies.msgs[i].msg_hdr;

    control = ngx_zltunnel_replies.control[i].space;
    cmsg = &ngx_zltunnel_replies.control[i].cmsg;
    len = 0;

    if (c->listening->wildcard && c->local_sockaddr->sa_family == AF_INET) {
        sin = (struct sockaddr_in *) c->local_sockaddr;

        ngx_memzero(&pkt, sizeof(struct in_pktinfo));
        pkt.ipi_spec_dst = sin->sin_addr;

        cmsg->cmsg_level = IPPROTO_IP;
        cmsg->cmsg_type = IP_PKTINFO;
        cmsg->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
        ngx_memcpy(CMSG_DATA(cmsg), &pkt, sizeof(struct in_pktinfo));

        len = CMSG_SPACE(sizeof(struct in_pktinfo));
    }

#if (NGX_HAVE_INET6)

    if (c->listening->wildcard && c->local_sockaddr->sa_family == AF_INET6) {
        sin6 = (struct sockaddr_in6 *) c->local_sockaddr;

        ngx_memzero(&pkt6, sizeof(struct in6_pktinfo));
        pkt6.ipi6_addr = sin6->sin6_addr;

        cmsg->cmsg_level = IPPROTO_IPV6;
        cmsg->cmsg_type = IPV6_PKTINFO;
        cmsg->cmsg_len = CMSG_LEN(sizeof(struct in6_pktinfo));
        ngx_memcpy(CMSG_DATA(cmsg), &pkt6, sizeof(struct in6_pktinfo));

        len = CMSG_SPACE(sizeof(struct in6_pktinfo));
    }

#endif

    if (segment) {
        size = (uint16_t) segment;
        cmsg = (struct cmsghdr *) (control + len);

        cmsg->cmsg_level = IPPROTO_UDP;
        cmsg->cmsg_type = UDP_SEGMENT;
        cmsg->cmsg_len = CMSG_LEN(sizeof(uint16_t));
        ngx_memcpy(CMSG_DATA(cmsg), &size, sizeof(uint16_t));

        len += CMSG_SPACE(sizeof(uint16_t));
    }

    msg->msg_control = len ? control : NULL;
    msg->msg_controllen = len;
}
