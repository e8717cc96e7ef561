
/*
 * Copyright (C) zltunnel authors
 */


#ifndef ZLT_VERSION_H_INCLUDED
#define ZLT_VERSION_H_INCLUDED


#define ZLT_AGENT_VERSION  "0.1.0"


#endif /* ZLT_VERSION_H_INCLUDED */
