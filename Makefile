
# zltunnel: the nginx module, the agent, their tests.
#
#   make                 the module and the agent, in objs/
#   make demo            a tunnel on loopback, to see it work
#   make check           all tests (check-long: in their full sizes)
#   make test T=t/udp    some of them
#   make bench           figures, beside two nginx stream proxies; or beside
#                        another tree of this, BASE=dir
#   make install         DESTDIR=, PREFIX=/usr/local, MODULES_DIR=, CONF_DIR=;
#                        STRIP= keeps what a debugger wants; and make uninstall
#   make CLUSTER=1       with the module for "cluster" as well, which needs
#                        libhiredis-dev; and make install CLUSTER=1
#   make agent install-agent    without nginx; and make uninstall-agent
#   make man completions        man pages and shells' completion, in objs/
#   make deb             Debian's packages, in objs/deb; make rpm, in objs/rpm
#
# For those who change it:
#
#   make units           what needs no nginx: unit tests, corpora of fuzzing
#   make fuzz            every fuzz harness for FUZZ_S=60 seconds, or FUZZ=ws
#   make fuzz-corpus     what that found, into t/fuzz/corpus
#   make sanitize-check  the tests with sanitizers: the agent, and with
#                        NGINX_SRC=dir nginx and the module, too; T=t/...
#   make coverage        lines run by the tests, or by T=t/...
#   make lint            compilers' warnings, and checkers, or CHECKER=gcc
#   make lint-baseline   as many complaints as there are now
#   make figures         how the source stands; make traces: and is walked
#
#   NGINX=/path/to/nginx     the nginx to build for, "nginx" by default
#   NGINX_SRC=dir            its source tree, instead of Debian's nginx-dev
#   NGINX_FLAGS=...          its configure flags, instead of "nginx -V"
#   CC=clang                 another compiler
#   SANITIZE=1               the agent with ASan and UBSan
#   STATIC=1                 one that needs no library, for "make agent"
#   V=1                      commands are shown as they are run

PREFIX =       /usr/local
NGINX =        nginx
NGINX_SRC =
NGINX_FLAGS =
MODULE_CFLAGS =
MODULE_LDFLAGS =
PKG_CONFIG =   pkg-config
PROVE =        prove
CLANG =        clang
FUZZ_S =       60

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
CLUSTER_MODULE = $(OBJS)/ngx_zltunnel_cluster_module.so
MODULES =      $(MODULE) $(if $(CLUSTER),$(CLUSTER_MODULE))
TREE =         $(OBJS)/nginx-src

SANE_AGENT =   $(OBJS)/sanitize/zltunnel-agent
STATIC_AGENT = $(OBJS)/static/zltunnel-agent
AGENT =        $(if $(SANITIZE),$(SANE_AGENT),$(if $(STATIC),$(STATIC_AGENT),\
                   $(OBJS)/zltunnel-agent))

# what else the compiler can do is found out once, by auto/harden

HARDEN =       -fPIE `cat $(OBJS)/harden.id`
HARDEN_LD =    -pie -Wl,-z,relro -Wl,-z,now

PROTO =        ngx_zltunnel_module/proto
PROTO_SRCS =   $(wildcard $(PROTO)/*.c)
AGENT_SRCS =   $(wildcard agent/*.c agent/*/*.c)
AGENT_LIBS =   libuv openssl $(QRENCODE)

# for "zltunnel-agent http --qr", if it is there; QRENCODE= does without it

QRENCODE :=    $(shell $(PKG_CONFIG) --exists libqrencode 2> /dev/null \
                       && echo libqrencode)
AGENT_FLAGS =  $(if $(QRENCODE),-DZLT_QRENCODE)

UNIT_SRCS =    $(wildcard t/unit/*_test.c)
FUZZ_SRCS =    $(wildcard t/fuzz/fuzz_*.c)
FUZZERS =      $(patsubst t/fuzz/fuzz_%.c,$(OBJS)/fuzz/%,$(FUZZ_SRCS))
FUZZERS_RUN =  $(or $(FUZZ),$(notdir $(FUZZERS)))

# programs that "prove" runs

UNITS =        $(patsubst t/unit/%.c,$(OBJS)/unit/%,$(UNIT_SRCS)) \
               $(patsubst t/fuzz/%.c,$(OBJS)/unit/%,$(FUZZ_SRCS))

C11 =          -std=c11 -D_GNU_SOURCE= -iquote $(PROTO) \
               $(patsubst %/,-iquote %,$(wildcard agent/*/))

# Without V=1 a line a file.  $(call say,CC,file) is that line.

ifeq ($(V),1)
Q =
say =
MODULE_MAKE =  $(MAKE) --no-print-directory
else
Q =            @
say =          @printf '  %-5s %s\n' $(1) $(2)
MODULE_MAKE =  $(MAKE) -s CC='$(CURDIR)/auto/cc $(CC)'
endif


.PHONY: all module agent units deb rpm demo check check-long test bench \
        install install-module install-agent install-doc \
        uninstall uninstall-module uninstall-agent uninstall-doc \
        sanitize sanitize-check fuzz fuzzers fuzz-corpus coverage \
        lint lint-baseline layers figures traces man completions clean deps \
        need-agent need-hiredis need-nginx-dirs deb-built FORCE

.DELETE_ON_ERROR:

.SECONDARY:

all: module agent

module: $(MODULES)

agent: $(AGENT)


# The module.  configure runs again only if something it depends on has
# changed, the list of files among it; what is compiled again, nginx's own
# makefile knows.  The copy is renamed into place, since an nginx may have the
# old one mapped.

$(TREE)/objs/Makefile: config auto/nginx auto/harden $(OBJS)/nginx.id $(OBJS)/module.id
	$(call say,CONF,$(TREE))
	$(Q)auto/nginx $(TREE) $(NGINX)

define module
	@+cd $(TREE) && { $(MAKE) -q -f objs/Makefile objs/$(@F) 2> /dev/null \
	    || $(MODULE_MAKE) -f objs/Makefile objs/$(@F); }
	@cmp -s $(TREE)/objs/$(@F) $@ \
	    || { cp $(TREE)/objs/$(@F) $@.new && mv $@.new $@; }
endef

$(MODULE): $(TREE)/objs/Makefile FORCE
	$(module)

# it finds the other one's functions where nginx has loaded both

$(CLUSTER_MODULE): $(MODULE) need-hiredis FORCE
	$(module)

need-hiredis:
	@printf '#include <hiredis/hiredis.h>\n' \
	    | $(CC) $(MODULE_CFLAGS) -E - > /dev/null 2>&1 || { \
	    echo 'The module for "cluster" needs hiredis.  On Debian:' >&2; \
	    echo '    apt-get install libhiredis-dev' >&2; \
	    exit 1; }

# A file of what else a target depends on, renewed only when that changes.

define renew
	@mkdir -p $(@D)
	@{ $(1); } > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
endef

$(OBJS)/nginx.id: FORCE
	$(call renew,auto/nginx -i $(NGINX))

$(OBJS)/module.id: FORCE
	$(call renew,echo $(sort $(wildcard ngx_zltunnel_module/*.[ch] \
	                                    ngx_zltunnel_module/*/*.[ch])))

$(OBJS)/agent.id: FORCE
	$(call renew,echo '$(CC) $(CPPFLAGS) $(CFLAGS) $(AGENT_FLAGS)')

$(OBJS)/harden.id: auto/harden $(OBJS)/agent.id
	$(call say,TRY,$(CC))
	@auto/harden $(CC) $(CFLAGS) > $@

$(OBJS)/clang.id: FORCE
	$(call renew,echo '$(CLANG) $(CPPFLAGS) $(AGENT_FLAGS)')

$(OBJS)/sources.id: FORCE
	$(call renew,echo $(sort $(AGENT_SRCS) $(PROTO_SRCS)))


# The agent.  Its objects are compiled in three ways: below objs/agent as they
# are installed; below objs/sanitize with the sanitizers, for unit tests and
# for SANITIZE=1; below objs/fuzz with clang's, for fuzzing.

AGENT_O =      $(patsubst %.c,$(OBJS)/agent/%.o,$(AGENT_SRCS) $(PROTO_SRCS))
SANE_O =       $(patsubst $(OBJS)/agent/%,$(OBJS)/sanitize/%,$(AGENT_O))
FUZZ_O =       $(patsubst $(OBJS)/agent/%,$(OBJS)/fuzz/obj/%,$(AGENT_O))

SANE_LIB =     $(OBJS)/sanitize/libzlt.a
FUZZ_LIB =     $(OBJS)/fuzz/obj/libzlt.a

# with what is given to it: the flags of that way

define compile
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(1) $(C11) $(CPPFLAGS) $(AGENT_FLAGS) $(WARNINGS) \
		`$(PKG_CONFIG) --cflags $(AGENT_LIBS)` -MMD -MP -c -o $@ $<
endef

define link
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(1) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) \
		`$(PKG_CONFIG) --libs $(or $(2),$(AGENT_LIBS))` -lresolv $(LIBS)
endef

define archive
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcs $@ $(filter %.o,$^)
endef

SANE_CC =      $(CC) -O1 -g $(SANITIZERS) -iquote t/unit
FUZZ_CC =      $(CLANG) -O1 -g $(SANITIZERS) -iquote t/unit

$(OBJS)/agent/%.o: %.c $(OBJS)/harden.id | need-agent
	$(call compile,$(CC) $(CFLAGS) -Wmissing-prototypes $(HARDEN))

# Without libraries: the objects are the same, but for those that know of it.
# The linker would warn of what glibc looks for at run time: net/lookup.c keeps
# it from that.

STATIC_SRCS =  agent/net/lookup.c agent/base/qr.c
STATIC_O =     $(filter-out $(STATIC_SRCS:%.c=$(OBJS)/agent/%.o),$(AGENT_O)) \
               $(STATIC_SRCS:%.c=$(OBJS)/static/%.o)
STATIC_LD =    -static-pie -Wl,-z,relro -Wl,-z,now -Wl,--no-warnings
STATIC_LIBS =  --static libuv-static openssl

$(OBJS)/static/%.o: %.c $(OBJS)/harden.id | need-agent
	$(call compile,$(CC) $(CFLAGS) -Wmissing-prototypes $(HARDEN) -DZLT_STATIC)

$(STATIC_AGENT): $(STATIC_O) $(OBJS)/sources.id
	$(call link,$(CC) $(CFLAGS) $(HARDEN) $(STATIC_LD),$(STATIC_LIBS))

$(OBJS)/sanitize/%.o: %.c $(OBJS)/agent.id | need-agent
	$(call compile,$(SANE_CC))

$(OBJS)/fuzz/obj/%.o: %.c $(OBJS)/clang.id | need-agent
	$(call compile,$(FUZZ_CC) -fsanitize=fuzzer-no-link)

$(OBJS)/zltunnel-agent: $(AGENT_O) $(OBJS)/sources.id
	$(call link,$(CC) $(CFLAGS) $(HARDEN) $(HARDEN_LD))

$(SANE_AGENT): $(SANE_O) $(OBJS)/sources.id
	$(call link,$(SANE_CC))

$(SANE_LIB): $(filter-out %/agent/main.o,$(SANE_O)) $(OBJS)/sources.id
	$(call archive)

$(FUZZ_LIB): $(filter-out %/agent/main.o,$(FUZZ_O)) $(OBJS)/sources.id
	$(call archive)

need-agent:
	@$(PKG_CONFIG) --exists $(AGENT_LIBS) || { \
	    echo 'The agent needs libuv and OpenSSL.  On Debian:' >&2; \
	    echo '    apt-get install gcc pkg-config libuv1-dev libssl-dev' >&2; \
	    exit 1; }


# Unit tests of the protocol's and the agent's code, and the fuzz harnesses
# over their corpora, under the sanitizers.  The linker takes from the archive
# what one needs.

units: $(UNITS)

$(OBJS)/unit/%_test: $(OBJS)/sanitize/t/unit/%_test.o $(SANE_LIB)
	$(call link,$(SANE_CC))

$(OBJS)/unit/fuzz_%: $(OBJS)/sanitize/t/fuzz/fuzz_%.o \
		$(OBJS)/sanitize/t/fuzz/replay_main.o $(SANE_LIB)
	$(call link,$(SANE_CC))


# Fuzzing, with clang's libFuzzer.  Without clang the corpora are run, as
# "make check" does.

fuzz:
	@t/install-deps.sh build fuzz
	@if command -v $(CLANG) > /dev/null; then \
	    $(MAKE) --no-print-directory fuzzers \
	    && OBJS=$(OBJS) auto/fuzz -s $(FUZZ_S) $(FUZZERS_RUN); \
	else \
	    echo 'There is no $(CLANG): the corpora only.'; \
	    $(MAKE) --no-print-directory units \
	    && $(PROVE) $(filter $(OBJS)/unit/fuzz_%,$(UNITS)); \
	fi

fuzz-corpus:
	@$(MAKE) --no-print-directory fuzzers
	@OBJS=$(OBJS) auto/fuzz -m $(FUZZERS_RUN)

fuzzers: $(FUZZERS)

$(OBJS)/fuzz/%: $(OBJS)/fuzz/obj/t/fuzz/fuzz_%.o $(FUZZ_LIB)
	$(call link,$(FUZZ_CC) -fsanitize=fuzzer)

-include $(patsubst %.o,%.d,$(AGENT_O) $(STATIC_O) $(SANE_O) $(FUZZ_O) \
           $(patsubst %.c,$(OBJS)/sanitize/%.o,$(wildcard t/unit/*.c t/fuzz/*.c)) \
           $(patsubst %.c,$(OBJS)/fuzz/obj/%.o,$(FUZZ_SRCS)))


# A sanitized agent, for the tests: TEST_ZLT_AGENT=objs/sanitize/zltunnel-agent

sanitize:
	$(MAKE) SANITIZE=1 agent units

sanitize-check:
	@t/install-deps.sh
	+@PROVE="$(PROVE)" auto/sanitize-check $(T)


# The manual and the completion of shells, from docs/ and from the agent's own
# words.

MAN =          zltunnel-agent.1 agent.conf.5 zltunnel.8
COMPLETION =   bash zsh fish

man: $(MAN:%=$(OBJS)/man/%)

completions: $(COMPLETION:%=$(OBJS)/completion/%)

$(OBJS)/man/%: auto/manual auto/Agent.pm docs/agent.md docs/directives.md \
		agent/agent.conf.example $(AGENT)
	$(call say,MAN,$@)
	@mkdir -p $(@D)
	$(Q)AGENT=$(strip $(AGENT)) auto/manual $* > $@

$(OBJS)/completion/%: auto/completion auto/Agent.pm $(AGENT)
	$(call say,COMP,$@)
	@mkdir -p $(@D)
	$(Q)AGENT=$(strip $(AGENT)) auto/completion $* > $@


# What looks at the source.

layers: all
	@auto/layers -v

figures: all
	@auto/figures

# needs what "make test" needs

traces: all
	@auto/traces

coverage:
	@t/install-deps.sh
	+@PROVE="$(PROVE)" auto/coverage $(T)

lint: $(TREE)/objs/Makefile
	@t/install-deps.sh build lint
	@C11="$(C11)" auto/lint $(CHECKER)

lint-baseline: $(TREE)/objs/Makefile
	@t/install-deps.sh build lint
	@C11="$(C11)" auto/lint -b $(CHECKER)


# What else there is to run; missing packages are installed first.

deps:
	t/install-deps.sh

demo:
	t/install-deps.sh build demo
	$(MAKE) all
	@t/demo.sh

# with what "cluster" needs, where that is there

TEST_CLUSTER = $(if $(wildcard /usr/include/hiredis/hiredis.h),CLUSTER=1)

check:
	t/install-deps.sh
	$(MAKE) $(JOBS) $(TEST_CLUSTER) all units
	ZLT_LONG=$${ZLT_LONG:-0} PROVE="$(PROVE)" t/run.sh $(UNITS) t

check-long:
	$(MAKE) check ZLT_LONG=1

# make test T="t/udp t/relay/exact.t t/unit/ws_test.c"

TEST_UNITS =   $(if $(filter t t/ t/unit t/unit/,$(T)),$(UNITS)) \
               $(patsubst t/unit/%.c,$(OBJS)/unit/%,$(filter t/unit/%.c,$(T))) \
               $(filter $(OBJS)/unit/%,$(T))
TEST_FILES =   $(filter-out t/unit t/unit/ t/unit/%.c $(OBJS)/unit/%,$(T))

test:
	@test -n "$(T)" || { echo 'make test T="t/relay t/udp/agent.t"' >&2; \
	    exit 2; }
	@$(MAKE) --no-print-directory $(JOBS) $(TEST_CLUSTER) $(TEST_UNITS) \
	    $(if $(TEST_FILES),all)
	@ZLT_LONG=$${ZLT_LONG:-0} PROVE="$(PROVE)" \
	    t/run.sh $(sort $(TEST_UNITS)) $(TEST_FILES)

# as many as there are processors, unless make was told how many

JOBS =         $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

ifdef ZLT_LONG
export ZLT_LONG
endif

bench:
	t/install-deps.sh build bench
	$(MAKE) $(TEST_CLUSTER) all $(OBJS)/bench/load
	@$(if $(BASE),bench/compare.pl $(BASE),bench/bench.pl) $(BENCH)

$(OBJS)/bench/load: $(wildcard bench/*.c bench/*.h)
	$(call say,CC,$(filter %.c,$^))
	@mkdir -p $(@D)
	$(Q)$(CC) $(C11) $(CPPFLAGS) -O2 -g $(WARNINGS) -pthread $(LDFLAGS) \
		-o $@ $(filter %.c,$^)


# What is installed is stripped, in its copy only.

STRIP =        strip
BINDIR =       $(PREFIX)/bin
DATADIR =      $(PREFIX)/share/zltunnel
DOCDIR =       $(PREFIX)/share/doc/zltunnel
UNITDIR =      $(PREFIX)/lib/systemd/system
SYSUSERSDIR =  $(PREFIX)/lib/sysusers.d
MANDIR =       $(PREFIX)/share/man

# where shells look for completion, by their names

COMPLETE_bash = $(PREFIX)/share/bash-completion/completions/zltunnel-agent
COMPLETE_zsh =  $(PREFIX)/share/zsh/site-functions/_zltunnel-agent
COMPLETE_fish = $(PREFIX)/share/fish/vendor_completions.d/zltunnel-agent.fish

# where the links of each to the others lead, here as there

DOCS =         README.md CHANGES LICENSE CONTRIBUTING.md bench/README.md \
               packaging/README.md docs/convert.py docs/api.yaml \
               docs/grafana.json docs/alerts.yaml docs/dashboard.png \
               $(wildcard docs/*.md docs/*/*.md)
UNITS_SYSTEMD = $(wildcard agent/*.service)
EXAMPLES =     $(wildcard agent/*.example)
INCLUDES =     $(wildcard ngx_zltunnel_module/*.conf)
PAGES =        $(wildcard ngx_zltunnel_module/*.html)

# nginx says where its modules are, and what "include" looks for.

nginx-path =   $(shell $(NGINX) -V 2>&1 | tr ' ' '\n' | sed -n 's/^--$(1)=//p')
MODULES_DIR =  $(call nginx-path,modules-path)
CONF_DIR =     $(patsubst %/,%,$(dir $(call nginx-path,conf-path)))

need-nginx-dirs:
	@test -n "$(MODULES_DIR)" || { \
	    echo '"$(NGINX) -V" has no --modules-path: set MODULES_DIR' >&2; \
	    exit 1; }
	@test -n "$(CONF_DIR)" || { \
	    echo '"$(NGINX) -V" has no --conf-path: set CONF_DIR' >&2; \
	    exit 1; }

# a program in place of $(3): it may be running

define install
	$(call say,INST,$(DESTDIR)$(3))
	$(Q)install -d $(DESTDIR)$(dir $(3))
	$(Q)install -m $(1) $(2) $(DESTDIR)$(3).new
	$(Q)$(if $(STRIP),$(STRIP) --strip-unneeded $(DESTDIR)$(3).new)
	$(Q)mv $(DESTDIR)$(3).new $(DESTDIR)$(3)
endef

install: install-module install-agent install-doc

uninstall: uninstall-module uninstall-agent uninstall-doc

install-module: $(MODULES) need-nginx-dirs
	$(call install,644,$(MODULE),$(MODULES_DIR)/$(notdir $(MODULE)))
	$(if $(CLUSTER),$(call install,644,$(CLUSTER_MODULE),$(MODULES_DIR)/$(notdir $(CLUSTER_MODULE))))
	$(call say,INST,$(DESTDIR)$(CONF_DIR))
	$(Q)install -d $(DESTDIR)$(CONF_DIR)
	$(Q)install -m 644 $(INCLUDES) $(DESTDIR)$(CONF_DIR)/
	$(call say,INST,$(DESTDIR)$(DATADIR))
	$(Q)install -d $(DESTDIR)$(DATADIR)
	$(Q)install -m 644 $(PAGES) $(DESTDIR)$(DATADIR)/

uninstall-module: need-nginx-dirs
	rm -f $(DESTDIR)$(MODULES_DIR)/$(notdir $(MODULE)) \
	    $(DESTDIR)$(MODULES_DIR)/$(notdir $(CLUSTER_MODULE)) \
	    $(addprefix $(DESTDIR)$(CONF_DIR)/,$(notdir $(INCLUDES))) \
	    $(addprefix $(DESTDIR)$(DATADIR)/,$(notdir $(PAGES)))
	-@rmdir $(DESTDIR)$(DATADIR) 2> /dev/null || true

MAN_AGENT =    $(filter %.1 %.5,$(MAN))
MAN_MODULE =   $(filter-out $(MAN_AGENT),$(MAN))

# one page, or more, each in its section

define install-man
	$(Q)for page in $(1); do install -D -m 644 $(OBJS)/man/$$page \
	    $(DESTDIR)$(MANDIR)/man$${page##*.}/$$page || exit 1; done
endef

installed-man = $(foreach p,$(1),$(DESTDIR)$(MANDIR)/man$(subst .,,$(suffix $(p)))/$(p))

install-agent: $(AGENT) man completions
	$(call install,755,$(AGENT),$(BINDIR)/zltunnel-agent)
	$(call say,INST,$(DESTDIR)$(UNITDIR))
	$(Q)install -d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(DOCDIR)
	$(Q)for unit in $(UNITS_SYSTEMD); do \
	    sed 's|/usr/local/bin/zltunnel-agent|$(BINDIR)/zltunnel-agent|' \
	        $$unit > $(DESTDIR)$(UNITDIR)/$${unit##*/} \
	    && chmod 644 $(DESTDIR)$(UNITDIR)/$${unit##*/} || exit 1; done
	$(Q)install -D -m 644 agent/zltunnel-agent.sysusers \
	    $(DESTDIR)$(SYSUSERSDIR)/zltunnel-agent.conf
	$(Q)install -m 644 $(EXAMPLES) $(DESTDIR)$(DOCDIR)/
	$(call install-man,$(MAN_AGENT))
	$(Q)$(foreach s,$(COMPLETION),install -D -m 644 $(OBJS)/completion/$(s) \
	    $(DESTDIR)$(COMPLETE_$(s)) &&) true

uninstall-agent:
	rm -f $(DESTDIR)$(BINDIR)/zltunnel-agent \
	    $(DESTDIR)$(SYSUSERSDIR)/zltunnel-agent.conf \
	    $(addprefix $(DESTDIR)$(UNITDIR)/,$(notdir $(UNITS_SYSTEMD))) \
	    $(addprefix $(DESTDIR)$(DOCDIR)/,$(notdir $(EXAMPLES))) \
	    $(call installed-man,$(MAN_AGENT)) \
	    $(foreach s,$(COMPLETION),$(DESTDIR)$(COMPLETE_$(s)))
	-@rmdir $(DESTDIR)$(DOCDIR) 2> /dev/null || true

install-doc: man
	$(call say,INST,$(DESTDIR)$(DOCDIR))
	$(Q)for doc in $(DOCS); do install -D -m 644 $$doc \
	    $(DESTDIR)$(DOCDIR)/$$doc || exit 1; done
	$(call install-man,$(MAN_MODULE))

uninstall-doc: man
	rm -f $(addprefix $(DESTDIR)$(DOCDIR)/,$(DOCS)) \
	    $(call installed-man,$(MAN_MODULE))
	-@(cd $(DESTDIR)$(DOCDIR) \
	    && rmdir -p $(sort $(filter-out ./,$(dir $(DOCS))))) 2> /dev/null; \
	    rmdir $(DESTDIR)$(DOCDIR) 2> /dev/null || true

# Packages, built in a copy; with BUILT=1 of what was built here, for tests.

DEB =          $(OBJS)/deb
DEB_TREE =     $(DEB)/zltunnel

DEB_CLUSTER =  $(if $(CLUSTER),CLUSTER=$(CLUSTER),$(TEST_CLUSTER))

deb: $(if $(BUILT),deb-built)
	@t/install-deps.sh deb
	@rm -rf $(DEB)
	@mkdir -p $(DEB_TREE)
	@cp -a $(filter-out $(OBJS),$(wildcard *)) $(DEB_TREE)/
	@$(if $(BUILT),mkdir $(DEB_TREE)/objs && cp -a $(filter-out $(DEB) \
	    $(TREE) %/unit %/fuzz %/sanitize,$(wildcard $(OBJS)/*)) $(DEB_TREE)/objs/)
	$(call say,DEB,$(DEB))
	$(Q)cd $(DEB_TREE) && env -u MAKEFLAGS $(if $(BUILT),ZLT_BUILT=1 \
	        $(if $(DEB_CLUSTER),,DEB_BUILD_PROFILES=pkg.zltunnel.nocluster) \
	        DEB_BUILD_OPTIONS='noautodbgsym nocheck') \
	    dpkg-buildpackage -b -us -uc $(if $(BUILT),-d) > ../build.log 2>&1 \
	    || { tail -30 ../build.log >&2; exit 1; }
	@rm -rf $(DEB_TREE)
	@ls $(DEB)/*.deb

deb-built:
	@$(MAKE) --no-print-directory $(DEB_CLUSTER) all

# Where packages are Debian's, rpm knows of none that it would need.

VERSION =      $(shell sed -n 's/.* ZLT_AGENT_VERSION *"\(.*\)"/\1/p' \
                   agent/base/version.h)
RPM =          $(OBJS)/rpm
RPM_FLAGS =    $(if $(wildcard /etc/debian_version),--nodeps)

rpm:
	@t/install-deps.sh build rpm
	@rm -rf $(RPM)
	@mkdir -p $(RPM)/SOURCES
	@tar -czf $(RPM)/SOURCES/zltunnel-$(VERSION).tar.gz \
	    --transform 's,^,zltunnel-$(VERSION)/,' \
	    $(filter-out $(OBJS),$(wildcard *))
	$(call say,RPM,$(RPM))
	$(Q)env -u MAKEFLAGS rpmbuild -bb $(RPM_FLAGS) \
	    --define "_topdir $(abspath $(RPM))" packaging/rpm/zltunnel.spec \
	    > $(RPM)/build.log 2>&1 || { tail -30 $(RPM)/build.log >&2; exit 1; }
	@ls $(RPM)/RPMS/*/*.rpm

clean:
	rm -rf $(OBJS)
