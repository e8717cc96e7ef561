
/*
 * Copyright (C) zltunnel authors
 */

/*
 * The objects of the agent, for those who only point to them, and what
 * prototypes are written with.
 */


#ifndef ZLT_BASE_TYPES_H_INCLUDED
#define ZLT_BASE_TYPES_H_INCLUDED


/* base/ */
typedef struct zlt_task_s          zlt_task_t;

/* net/ */
typedef struct zlt_addr_s          zlt_addr_t;
typedef struct zlt_conn_s          zlt_conn_t;
typedef struct zlt_race_s          zlt_race_t;
typedef struct zlt_http_answer_s   zlt_http_answer_t;
typedef struct zlt_tls_s           zlt_tls_t;
typedef struct zlt_url_s           zlt_url_t;

/* proxy/ */
typedef struct zlt_reach_s         zlt_reach_t;
typedef struct zlt_talk_s          zlt_talk_t;
typedef struct zlt_upgrade_s       zlt_upgrade_t;
typedef struct zlt_proxy_s         zlt_proxy_t;

/* config/, service/ */
typedef struct zlt_conf_s          zlt_conf_t;
typedef struct zlt_config_s        zlt_config_t;
typedef struct zlt_service_conf_s  zlt_service_conf_t;
typedef struct zlt_access_conf_s   zlt_access_conf_t;
typedef struct zlt_service_s       zlt_service_t;
typedef struct zlt_range_s         zlt_range_t;
typedef struct zlt_check_s         zlt_check_t;

/* channel/, udp/ */
typedef struct zlt_owner_s         zlt_owner_t;
typedef struct zlt_channel_s       zlt_channel_t;
typedef struct zlt_pool_s          zlt_pool_t;
typedef struct zlt_pool_param_s    zlt_pool_param_t;
typedef struct zlt_shared_s        zlt_shared_t;
typedef struct zlt_lane_s          zlt_lane_t;
typedef struct zlt_udp_s           zlt_udp_t;

/* access/ */
typedef struct zlt_access_s        zlt_access_t;
typedef struct zlt_access_ops_s    zlt_access_ops_t;
typedef struct zlt_visit_s         zlt_visit_t;
typedef struct zlt_visit_udp_s     zlt_visit_udp_t;

/* link/, process/, ctl/ */
typedef struct zlt_link_s          zlt_link_t;
typedef struct zlt_link_ops_s      zlt_link_ops_t;
typedef struct zlt_control_s       zlt_control_t;
typedef struct zlt_process_s       zlt_process_t;
typedef struct zlt_spread_s        zlt_spread_t;
typedef struct zlt_ctl_s           zlt_ctl_t;
typedef struct zlt_ctl_http_s      zlt_ctl_http_t;


#define zlt_printf_like(fmt, args)  __attribute__((format(printf, fmt, args)))


#endif /* ZLT_BASE_TYPES_H_INCLUDED */
