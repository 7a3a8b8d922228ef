# install and uninstall. Included by the Makefile, which defines the folders.

localstatedir ?= /var
unitdir       ?= $(libdir)/systemd/system
userunitdir   ?= $(libdir)/systemd/user
catalogdir    ?= $(libdir)/systemd/catalog
sysusersdir   ?= $(libdir)/sysusers.d
tmpfilesdir   ?= $(libdir)/tmpfiles.d
confdir       := $(sysconfdir)/kanband

# SOURCE:DESTINATION. A source that ends in .in has @bindir@ and @sysconfdir@ filled in.
INSTALL_FILES := \
	systemd/kanband.service.in:$(unitdir)/kanband.service \
	systemd/kanband@.service.in:$(unitdir)/kanband@.service \
	systemd/kanban.slice:$(unitdir)/kanban.slice \
	systemd/user/kanband.service.in:$(userunitdir)/kanband.service \
	systemd/kanban.slice:$(userunitdir)/kanban.slice \
	systemd/kanband.catalog:$(catalogdir)/kanband.catalog \
	systemd/kanband.sysusers:$(sysusersdir)/kanband.conf \
	systemd/kanband.tmpfiles:$(tmpfilesdir)/kanband.conf \
	$(foreach m,$(sort $(wildcard man/*.[1-8])),$(m):$(mandir)/man$(subst .,,$(suffix $(m)))/$(notdir $(m)))
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
