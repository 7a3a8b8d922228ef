# install, uninstall and the Debian package. Included by the Makefile, which defines the folders. What is there by a
# pattern is installed by a pattern: a unit, a manual or a completion more needs no line here.

localstatedir ?= /var
unitdir       ?= $(libdir)/systemd/system
userunitdir   ?= $(libdir)/systemd/user
catalogdir    ?= $(libdir)/systemd/catalog
sysusersdir   ?= $(libdir)/sysusers.d
tmpfilesdir   ?= $(libdir)/tmpfiles.d
docdir        ?= $(datadir)/doc/kanband
bashcompdir   ?= $(datadir)/bash-completion/completions
zshcompdir    ?= $(datadir)/zsh/site-functions
fishcompdir   ?= $(datadir)/fish/vendor_completions.d
confdir       := $(sysconfdir)/kanband

# each PATTERN FOLDER : SOURCE:DESTINATION of every file of the pattern
each = $(foreach f,$(sort $(wildcard $(1))),$(f):$(2)/$(patsubst %.in,%,$(notdir $(f))))

# SOURCE:DESTINATION. A source that ends in .in has @bindir@ and @sysconfdir@ filled in.
INSTALL_FILES := \
	$(call each,$(foreach k,service socket slice,systemd/*.$(k) systemd/*.$(k).in),$(unitdir)) \
	$(call each,$(foreach k,service socket slice,systemd/user/*.$(k) systemd/user/*.$(k).in),$(userunitdir)) \
	systemd/kanban.slice:$(userunitdir)/kanban.slice \
	systemd/kanband.catalog:$(catalogdir)/kanband.catalog \
	systemd/kanband.sysusers:$(sysusersdir)/kanband.conf \
	systemd/kanband.tmpfiles:$(tmpfilesdir)/kanband.conf \
	$(foreach m,$(sort $(wildcard man/*.[1-8])),$(m):$(mandir)/man$(subst .,,$(suffix $(m)))/$(notdir $(m))) \
	$(foreach f,$(wildcard conf/completions/kanbanctl.bash),$(f):$(bashcompdir)/kanbanctl) \
	$(foreach f,$(wildcard conf/completions/kanbanctl.zsh),$(f):$(zshcompdir)/_kanbanctl) \
	$(foreach f,$(wildcard conf/completions/kanbanctl.fish),$(f):$(fishcompdir)/kanbanctl.fish) \
	$(call each,README.md conf/openapi.yaml,$(docdir)) \
	$(call each,conf/prometheus/*.yml,$(docdir)/prometheus) \
	$(call each,conf/grafana/*.json,$(docdir)/grafana) \
	$(call each,systemd/hermes-gateway.service.d/*.conf,$(docdir)/examples/hermes-gateway.service.d) \
	$(call each,systemd/kanband.service.d/*.conf,$(docdir)/examples/kanband.service.d) \
	$(call each,systemd/polkit-rules.d/*.rules,$(docdir)/examples/polkit-rules.d)
INSTALL_CONF := $(wildcard conf/kanband.conf)

source = $(firstword $(subst :, ,$(1)))
target = $(DESTDIR)$(lastword $(subst :, ,$(1)))

define install_file
	@mkdir -p $(dir $(call target,$(1)))
	$(if $(filter %.in,$(call source,$(1))),\
	sed -e 's|@bindir@|$(bindir)|g' -e 's|@sysconfdir@|$(sysconfdir)|g' $(call source,$(1)) >$(call target,$(1)) && chmod 644 $(call target,$(1)),\
	install -m 644 $(call source,$(1)) $(call target,$(1)))

endef

.PHONY: install
install: $(PROGS) ## install under DESTDIR and prefix (/usr/local)
	@mkdir -p $(DESTDIR)$(bindir) $(DESTDIR)$(confdir)/kanband.conf.d
	install -m 755 $(PROGS) $(DESTDIR)$(bindir)
	$(foreach f,$(INSTALL_FILES),$(call install_file,$(f)))
	@# An operator's configuration is never overwritten.
	$(if $(INSTALL_CONF),test -e $(DESTDIR)$(confdir)/kanband.conf || install -m 644 $(INSTALL_CONF) $(DESTDIR)$(confdir)/kanband.conf)
	$(if $(DESTDIR),,@echo 'Next, as root: systemd-sysusers; systemd-tmpfiles --create; journalctl --update-catalog; systemctl daemon-reload')

.PHONY: uninstall
uninstall: ## take away what install put there; a changed kanband.conf stays
	rm -f $(foreach p,$(PROGS),$(DESTDIR)$(bindir)/$(notdir $(p))) $(foreach f,$(INSTALL_FILES),$(call target,$(f)))
	$(if $(INSTALL_CONF),@if cmp -s $(INSTALL_CONF) $(DESTDIR)$(confdir)/kanband.conf; then rm -f $(DESTDIR)$(confdir)/kanband.conf; \
	elif test -e $(DESTDIR)$(confdir)/kanband.conf; then echo 'kept: $(DESTDIR)$(confdir)/kanband.conf (it was changed)'; fi)
	@rmdir $(DESTDIR)$(confdir)/kanband.conf.d $(DESTDIR)$(confdir) 2>/dev/null || true
	@rmdir $(DESTDIR)$(docdir)/examples/hermes-gateway.service.d $(DESTDIR)$(docdir)/examples/kanband.service.d $(DESTDIR)$(docdir)/examples/polkit-rules.d $(DESTDIR)$(docdir)/examples $(DESTDIR)$(docdir)/prometheus $(DESTDIR)$(docdir)/grafana $(DESTDIR)$(docdir) 2>/dev/null || true

# The sources that git tracks, with conf/debian as debian/, in a folder of their own.
.PHONY: deps-deb deb check-deb
deps-deb: ## and what make deb needs (Debian and its kin)
	@sh conf/deps --deb $(PKGS) check
deb: deps-deb ## build the Debian package: build/deb/kanband_*.deb
	@sh conf/mkdeb $(BUILD)/deb
check-deb: deb ## and install, upgrade and purge it in a real systemd
	@DEB=$$(ls $(abspath $(BUILD))/deb/kanband_*.deb) OUT=$(OUT) MODE=$(MODE) tests/run systemd/package
