
# zltunnel: the nginx module, the agent, their tests.
#
#   make                 the module and the agent, in objs/
#   make demo            a tunnel on loopback, to see it work
#   make check           all tests (check-long: in their full sizes)
#   make bench           figures, beside two nginx stream proxies
#   make install         DESTDIR=, PREFIX=/usr/local, MODULES_DIR=
#
#   NGINX=/path/to/nginx     the nginx to build for, "nginx" by default
#   NGINX_SRC=dir            its source tree, instead of Debian's nginx-dev
#   NGINX_FLAGS=...          its configure flags, instead of "nginx -V"
#   CC=clang                 another compiler
#   SANITIZE=1               the agent with ASan and UBSan

PREFIX =       /usr/local
NGINX =        nginx
NGINX_SRC =
NGINX_FLAGS =
MODULE_CFLAGS =
MODULE_LDFLAGS =
PKG_CONFIG =   pkg-config
PROVE =        prove

CFLAGS =       -O2 -g
WARNINGS =     -Wall -Wextra
SANITIZERS =   -fsanitize=address,undefined -fno-sanitize-recover=undefined \
               -fno-omit-frame-pointer

# where nginx is not on the path of a common user

export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin
export NGINX_SRC NGINX_FLAGS CC MODULE_CFLAGS MODULE_LDFLAGS

# In its environment nginx takes NGINX for a list of inherited sockets.

unexport NGINX

ifneq ($(NGINX),nginx)
export TEST_NGINX_BINARY := $(NGINX)
endif

OBJS =         objs
MODULE =       $(OBJS)/ngx_zltunnel_module.so
TREE =         $(OBJS)/nginx-src

ifdef SANITIZE
AGENT =        $(OBJS)/sanitize/zltunnel-agent
AGENT_OBJS =   $(OBJS)/sanitize
HARDEN =       $(SANITIZERS)
else
AGENT =        $(OBJS)/zltunnel-agent
AGENT_OBJS =   $(OBJS)/agent
HARDEN =       -fstack-protector-strong -fPIE
HARDEN_LD =    -pie -Wl,-z,relro -Wl,-z,now
ifneq ($(filter -O%,$(filter-out -O0,$(CFLAGS))),)
HARDEN +=      -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
endif
endif

PROTO =        ngx_zltunnel_module/proto
PROTO_SRCS =   $(wildcard $(PROTO)/*.c)
AGENT_SRCS =   $(wildcard agent/*.c agent/*/*.c)
AGENT_LIST =   $(patsubst %.c,$(AGENT_OBJS)/%.o,$(AGENT_SRCS) $(PROTO_SRCS))
AGENT_LIBS =   libuv openssl inih

UNIT_SRCS =    $(wildcard t/unit/*_test.c)
UNITS =        $(patsubst t/unit/%.c,$(OBJS)/unit/%,$(UNIT_SRCS))

C11 =          -std=c11 -D_GNU_SOURCE= -iquote $(PROTO) \
               $(patsubst %/,-iquote %,$(wildcard agent/*/))


.PHONY: all module agent units install demo check check-long bench sanitize \
        clean deps need-agent FORCE

.DELETE_ON_ERROR:

all: module agent

module: $(MODULE)

agent: $(AGENT)


# The module.  configure runs again only if something it depends on has
# changed, the list of files among it; what is compiled again, nginx's own
# makefile knows.  The copy is renamed into place, since an nginx may have the
# old one mapped.

$(OBJS)/nginx.id: FORCE
	@mkdir -p $(OBJS)
	@auto/nginx -i $(NGINX) > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(OBJS)/module.id: FORCE
	@mkdir -p $(OBJS)
	@echo $(sort $(wildcard ngx_zltunnel_module/*.[ch] \
	                        ngx_zltunnel_module/*/*.[ch])) > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(TREE)/objs/Makefile: config auto/nginx $(OBJS)/nginx.id $(OBJS)/module.id
	auto/nginx $(TREE) $(NGINX)

$(MODULE): $(TREE)/objs/Makefile FORCE
	@+cd $(TREE) && { $(MAKE) -q -f objs/Makefile modules 2> /dev/null \
	    || $(MAKE) --no-print-directory -f objs/Makefile modules; }
	@cmp -s $(TREE)/$@ $@ \
	    || { cp $(TREE)/objs/$(@F) $@.new && mv $@.new $@; }


# The agent.

$(AGENT): $(AGENT_LIST)
	$(CC) $(CFLAGS) $(HARDEN) $(HARDEN_LD) $(LDFLAGS) -o $@ $(AGENT_LIST) \
		`$(PKG_CONFIG) --libs $(AGENT_LIBS)` $(LIBS)

$(AGENT_OBJS)/%.o: %.c $(OBJS)/agent.id | need-agent
	@mkdir -p $(@D)
	$(CC) $(C11) $(CPPFLAGS) $(CFLAGS) $(WARNINGS) -Wmissing-prototypes \
		$(HARDEN) \
		`$(PKG_CONFIG) --cflags $(AGENT_LIBS)` -MMD -MP -c -o $@ $<

$(OBJS)/agent.id: FORCE
	@mkdir -p $(OBJS)
	@echo '$(CC) $(CPPFLAGS) $(CFLAGS)' > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

need-agent:
	@$(PKG_CONFIG) --exists $(AGENT_LIBS) || { \
	    echo 'The agent needs libuv, OpenSSL and inih.  On Debian:' >&2; \
	    echo '    apt-get install gcc pkg-config libuv1-dev libssl-dev' \
	         'libinih-dev' >&2; exit 1; }

-include $(AGENT_LIST:.o=.d)


# Unit tests: the protocol's code, under the sanitizers.

units: $(UNITS)

$(OBJS)/unit/%: t/unit/%.c $(PROTO_SRCS) $(wildcard $(PROTO)/*.h t/unit/*.h) \
		$(OBJS)/agent.id
	@mkdir -p $(@D)
	$(CC) $(C11) -It/unit $(CPPFLAGS) -O1 -g $(WARNINGS) $(SANITIZERS) \
		$(LDFLAGS) -o $@ $< $(PROTO_SRCS)


# A sanitized agent, for the tests: TEST_ZLT_AGENT=objs/sanitize/zltunnel-agent

sanitize:
	$(MAKE) SANITIZE=1 agent units


# What else there is to run; missing packages are installed first.

deps:
	t/install-deps.sh

demo:
	t/install-deps.sh build demo
	$(MAKE) all
	@t/demo.sh

check:
	t/install-deps.sh
	$(MAKE) all units
	ZLT_LONG=$${ZLT_LONG:-0} $(PROVE) -j1 $(UNITS) $(sort $(wildcard t/*.t))

check-long:
	$(MAKE) check ZLT_LONG=1

ifdef ZLT_LONG
export ZLT_LONG
endif

bench:
	t/install-deps.sh build bench
	$(MAKE) all $(OBJS)/bench/load
	@bench/bench.pl $(BENCH)

$(OBJS)/bench/load: $(wildcard bench/*.c bench/*.h)
	@mkdir -p $(@D)
	$(CC) $(C11) $(CPPFLAGS) -O2 -g $(WARNINGS) -pthread $(LDFLAGS) -o $@ \
		$(filter %.c,$^)


# nginx says where its modules are.

MODULES_DIR =  $(shell $(NGINX) -V 2>&1 | tr ' ' '\n' \
                   | sed -n 's/^--modules-path=//p')
DOCDIR =       $(PREFIX)/share/doc/zltunnel
UNITDIR =      $(PREFIX)/lib/systemd/system

install: all
	@test -n "$(MODULES_DIR)" || { \
	    echo '"$(NGINX) -V" has no --modules-path: set MODULES_DIR' >&2; \
	    exit 1; }
	install -d $(DESTDIR)$(MODULES_DIR) $(DESTDIR)$(PREFIX)/bin \
		$(DESTDIR)$(UNITDIR) $(DESTDIR)$(DOCDIR)
	install -m 644 $(MODULE) $(DESTDIR)$(MODULES_DIR)/
	install -m 755 $(AGENT) $(DESTDIR)$(PREFIX)/bin/
	for unit in $(wildcard agent/*.service); do \
	    sed 's|/usr/local/bin/zltunnel-agent|$(PREFIX)/bin/zltunnel-agent|' \
	        $$unit > $(DESTDIR)$(UNITDIR)/$${unit##*/} || exit 1; \
	    chmod 644 $(DESTDIR)$(UNITDIR)/$${unit##*/}; done
	install -m 644 README.md CHANGES LICENSE $(wildcard docs/*.md) \
		$(wildcard agent/*.example) $(DESTDIR)$(DOCDIR)/

clean:
	rm -rf $(OBJS)
