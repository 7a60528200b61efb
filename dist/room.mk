# For whoever installs Postcell or packages it: units of systemd, its users and
# folders, and Debian packages.
#
#   make deb            packages of this tree, in $(BUILD)/deb; as any user
systemdunitdir ?= $(PREFIX)/lib/systemd/system
sysusersdir ?= $(PREFIX)/lib/sysusers.d
tmpfilesdir ?= $(PREFIX)/lib/tmpfiles.d

# Folders as programs have them compiled in.
statedir := $(localstatedir)/lib/postcell
rundir := $(if $(filter /var,$(localstatedir)),/run,$(localstatedir)/run)/postcell
fill_in = sed -e 's,@sbindir@,$(sbindir),' -e 's,@sysconfdir@,$(sysconfdir),' \
	-e 's,@statedir@,$(statedir),' -e 's,@rundir@,$(rundir),' \
	-e '/^@sandbox@$$/{r dist/systemd/sandbox' -e 'd' -e '}'

.PHONY: install-dist
install: install-dist
install-dist:
	@for unit in $(notdir $(wildcard dist/systemd/*.in)); do \
		$(fill_in) dist/systemd/$$unit | install -D -m 644 /dev/stdin \
			$(DESTDIR)$(systemdunitdir)/$${unit%.in} || exit 1; done
	@$(fill_in) dist/sysusers.conf.in | install -D -m 644 /dev/stdin \
		$(DESTDIR)$(sysusersdir)/postcell.conf
	@$(fill_in) dist/tmpfiles.conf.in | install -D -m 644 /dev/stdin \
		$(DESTDIR)$(tmpfilesdir)/postcell.conf
	@$(fill_in) dist/tmpfiles-slapd.conf.in | install -D -m 644 /dev/stdin \
		$(DESTDIR)$(tmpfilesdir)/postcell-slapd.conf

# dpkg-buildpackage wants debian/ on top of a tree that it may fill.
.PHONY: deb
deb:
	@tools/bootstrap build deb
	@$(MAKE) --no-print-directory $(SLAPD_HEADERS)/version
	@rm -rf $(BUILD)/deb && mkdir -p $(BUILD)/deb/postcell-$(VERSION)
	@tar -c --exclude=./.git --exclude='./build*' --exclude=__pycache__ . | \
		tar -x -C $(BUILD)/deb/postcell-$(VERSION)
	@cp -r dist/debian $(BUILD)/deb/postcell-$(VERSION)/debian
	@cp -r $(SLAPD_HEADERS) $(BUILD)/deb/postcell-$(VERSION)/slapd-headers
	$(say) DEB $(BUILD)/deb
	$(quiet)cd $(BUILD)/deb/postcell-$(VERSION) && \
		dpkg-buildpackage -us -uc -b $(if $(V),,>../build.log 2>&1) || \
		{ tail -n 20 ../build.log >&2; exit 1; }
	@rm -rf $(BUILD)/deb/postcell-$(VERSION)
	@ls $(BUILD)/deb/*.deb
