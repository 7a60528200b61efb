# make lint          silent when formatting, static analysis, headers by themselves,
#                    scripts and manual pages are clean; FILE:LINE of each finding else
# make lint-ROOM     the C sources of one room, and its tests
#
# What was clean is not looked at again before it changes, or a header that it
# includes, or the rules: a stamp in $(BUILD)/lint for each file.
lint_stamps := $(patsubst %,$(BUILD)/lint/%.ok,$(wildcard */*.[ch] tests/*/*.[ch] man/*.[1-8])) \
	$(patsubst %,$(BUILD)/lint/%.ok,cppcheck shell python)
lint_make = +@$(MAKE) -s -k --no-print-directory \
	$(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc)) --output-sync=target
# Findings, with paths as they are in the tree.
lint_fail = { sed 's|$(CURDIR)/||g; / warnings* generated\.$$/d' $@.log; exit 1; }

.PHONY: lint lint-all
lint:
	@tools/bootstrap build check lint
	$(lint_make) lint-all
lint-all: $(lint_stamps)
lint-%:
	$(lint_make) $(filter $(BUILD)/lint/$*/% $(BUILD)/lint/tests/$*/%,$(lint_stamps))

lint_CFLAGS = $(filter-out $(HARDEN) $(OPTIMISE) -Werror,$(postcell_CFLAGS)) $(lint_more) \
	$(if $(lint_PACKAGES),$(call cflags_of,$(sort $(lint_PACKAGES))))
$(filter $(BUILD)/lint/slapd-overlay/%.ok,$(lint_stamps)): | $(SLAPD_HEADERS)/version
$(BUILD)/lint/%.c.ok: %.c .clang-tidy tests/.clang-tidy .clang-format
	@mkdir -p $(@D)
	$(quiet)clang-format --dry-run -Werror $<
	$(quiet)clang $(lint_CFLAGS) -MM -MP -MT $@ -MF $(@:.ok=.d) $<
	$(quiet)clang-tidy --quiet $< -- $(lint_CFLAGS) >$@.log 2>&1 || $(lint_fail)
	@touch $@
# A header compiles alone.
$(BUILD)/lint/%.h.ok: %.h .clang-format
	@mkdir -p $(@D)
	$(quiet)clang-format --dry-run -Werror $<
	$(quiet)$(CC) $(lint_CFLAGS) -Werror -Wno-unused-function -fsyntax-only -x c \
		-MMD -MP -MT $@ -MF $(@:.ok=.d) $<
	@touch $@
# Our own pages refer to each other before they are installed.
$(BUILD)/lint/man/%.ok: man/%
	@mkdir -p $(@D)
	$(quiet)! mandoc -T lint -W style $< 2>&1 | grep -v 'Xr postcell\|Xr slapo-postcell\|outdated mandoc.db'
	@touch $@
-include $(patsubst %.ok,%.d,$(filter %.c.ok %.h.ok,$(lint_stamps)))

# Lists are macros as well; no threads ask for users; clang sees better than it what
# is set.
lint_queue := $(firstword $(wildcard /usr/include/*/sys/queue.h /usr/include/sys/queue.h))
$(BUILD)/lint/cppcheck.ok: tools/cppcheck.cfg $(wildcard */*.[ch] tests/*/*.[ch])
	@mkdir -p $(@D)/cppcheck
	$(quiet)cppcheck --quiet --std=c11 --enable=warning,performance,portability \
		--inline-suppr --error-exitcode=1 --cppcheck-build-dir=$(@D)/cppcheck \
		--library=$< --include=$(lint_queue) -I. \
		--suppress=getpwnamCalled --suppress=readdirCalled \
		--suppress=uninitvar --suppress=ctuuninitvar --suppress=legacyUninitvar --suppress=invalidFunctionArgBool $(filter %.c,$^)
	@touch $@

lint_scripts = $(shell grep -lsE '^\#! */[a-z/]*$(1)' $(wildcard tools/* .ci/* cell/* dist/* tests/*/*))
$(BUILD)/lint/shell.ok: $(call lint_scripts,/sh$$)
	@mkdir -p $(@D)
	$(quiet)shellcheck $^
	@touch $@
$(BUILD)/lint/python.ok: $(sort $(wildcard *.py */*.py tests/*/*.py) $(call lint_scripts,/python3$$))
	@mkdir -p $(@D)
	$(quiet)pyflakes3 $^
	@touch $@
