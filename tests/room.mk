# Every tests/ROOM/NAME_test.c is a cmocka program of its own. It is linked with
# its room's library; a room may name more in ROOM_TEST_USES, ROOM_TEST_PACKAGES,
# ROOM_TEST_LIBS, and sources that its programs share in ROOM_TEST_SOURCES; one
# program in tests/ROOM/NAME_test_MORE, _MORE_USES and _MORE_LIBS.
unit_sources := $(sort $(wildcard tests/*/*_test.c))
unit_programs := $(patsubst %.c,%,$(unit_sources))
lib_TEST_USES := libpostcell
lib_TEST_PACKAGES := $(libpostcell_PACKAGES) libcrypto
simulator_TEST_SOURCES := $(addprefix tests/simulator/,history.c view.c world.c)
simulator_TEST_USES := libpostcell
simulator_TEST_PACKAGES := $(libpostcell_PACKAGES)

# The simulator by itself, for more histories or one of them aloud.
tests/simulator/simulator_SOURCES := tests/simulator/simulator.c $(simulator_TEST_SOURCES)
tests/simulator/simulator_USES := $(simulator_TEST_USES)
tests/simulator/simulator_PACKAGES := $(simulator_TEST_PACKAGES)
TESTS += tests/simulator/simulator

# What scenarios need of a service that misbehaves.
tests/scenarios/delegate_SOURCES := tests/scenarios/delegate.c
tests/scenarios/delegate_PACKAGES := heimdal-krb5
tests/scenarios/delegate_LIBS := -lasn1
tests/scenarios/rogue_SOURCES := tests/scenarios/rogue.c
tests/scenarios/rogue_PACKAGES := heimdal-krb5
tests/scenarios/rogue_LIBS := -lasn1
# The options of a module that has no command line.
tests/kdc-plugin/describe_SOURCES := tests/kdc-plugin/describe.c
tests/kdc-plugin/describe_USES := $(kdc-plugin_TEST_USES)
tests/kdc-plugin/describe_PACKAGES := $(kdc-plugin_TEST_PACKAGES)
tests/kdc-plugin/describe_LIBS := $(kdc-plugin_TEST_LIBS)
tests/kdc-plugin/administer_SOURCES := tests/kdc-plugin/administer.c
tests/kdc-plugin/administer_PACKAGES := heimdal-krb5
tests/kdc-plugin/administer_LIBS := -lhdb
scenario_programs := tests/scenarios/delegate tests/scenarios/rogue tests/kdc-plugin/describe \
	tests/kdc-plugin/administer tests/bench/asreq
TESTS += $(scenario_programs)

# tests/fuzz: each NAME_test.c runs the files of tests/fuzz/corpus/NAME, and
# `make fuzz` has libFuzzer look for more of them (tools/fuzz).
fuzz_TEST_SOURCES := tests/fuzz/machine.c $(if $(FUZZ),,tests/fuzz/replay.c)
fuzz_TEST_USES := libpostcell-proxy libpostcell-replica-daemon libpostcell-zones $(filter-out libpostcell-proxy,$(postcell-proxyd_USES))
fuzz_TEST_PACKAGES := $(sort $(postcell-proxyd_PACKAGES) $(libpostcell-replica-daemon_PACKAGES) $(libpostcell-zones_PACKAGES))
fuzz_TEST_LIBS := $(postcell-proxyd_LIBS)
# Those that play whole sessions: connections to servers are theirs.
stage_sources := $(addprefix tests/fuzz/,script.c stage.c stage_clock.c stage_peer.c stage_world.c)
stage_LIBS := -Wl,--wrap=connect_next
tests/fuzz/delivery_test_MORE := $(stage_sources) tests/fuzz/mail_hub.c tests/fuzz/mail_server.c
tests/fuzz/delivery_test_MORE_LIBS := $(stage_LIBS)
tests/fuzz/session_test_MORE := $(stage_sources) $(addprefix tests/fuzz/,auth_peer.c login_server.c)
tests/fuzz/session_test_MORE_LIBS := $(stage_LIBS) \
	$(addprefix -Wl$(comma)--wrap=,front_input stream_fill session_begin_relay)
tests/fuzz/ask_test_MORE := $(stage_sources) tests/fuzz/login_server.c
tests/fuzz/ask_test_MORE_LIBS := $(stage_LIBS)
tests/fuzz/table_test_MORE_USES := libpostcell-ctl
tests/fuzz/keys_test_MORE_USES := libpostcell-keys
tests/fuzz/keys_test_MORE_LIBS := $(heimdal_LIBS)
tests/fuzz/principal_test_MORE_USES := libpostcell-kdc
tests/fuzz/principal_test_MORE_LIBS := $(postcell_hdb.so_LIBS)
FUZZ_TIME ?= 60
fuzz_CC ?= clang

define unit
$(1)_SOURCES := $(1).c $$($(patsubst tests/%/,%,$(dir $(1)))_TEST_SOURCES) $$($(1)_MORE)
$(1)_USES := $$($(1)_MORE_USES) $$($(patsubst tests/%/,%,$(dir $(1)))_TEST_USES)
$(1)_PACKAGES := cmocka $$($(patsubst tests/%/,%,$(dir $(1)))_TEST_PACKAGES)
$(1)_LIBS := $$($(patsubst tests/%/,%,$(dir $(1)))_TEST_LIBS) $$($(1)_MORE_LIBS)
endef
$(foreach name,$(unit_programs),$(eval $(call unit,$(name))))
TESTS += $(unit_programs)

# tools/check runs what it is asked for and prints the one count at the end.
.PHONY: check check-units check-dialogues check-scenarios
check:
	tools/bootstrap build cell check
	$(MAKE) all $(patsubst %,$(BUILD)/%,$(unit_programs) $(scenario_programs))
	tools/check --build $(BUILD) units dialogues scenarios
check-units: $(patsubst %,$(BUILD)/%,$(unit_programs))
	tools/check --build $(BUILD) units
check-dialogues: all
	tools/check --build $(BUILD) dialogues
check-scenarios: all $(patsubst %,$(BUILD)/%,$(scenario_programs))
	tools/check --build $(BUILD) scenarios

# make fuzz: all targets, FUZZ_TIME seconds each, two at a time; FUZZ_ONLY="NAME ...":
# these. make fuzz-NAME: one.
fuzz_names := $(if $(FUZZ_ONLY),$(FUZZ_ONLY),$(patsubst tests/fuzz/%_test.c,%,$(sort $(wildcard tests/fuzz/*_test.c))))
.PHONY: fuzz
fuzz:
	@tools/bootstrap build lint
	$(MAKE) CC="$(fuzz_CC)" BUILD=build-fuzz SAN=address,undefined FUZZ=1 DEV= \
		CFLAGS='-g -fsanitize=fuzzer-no-link' LDFLAGS=-fsanitize=fuzzer \
		$(fuzz_names:%=build-fuzz/tests/fuzz/%_test)
	tools/fuzz --build build-fuzz --time $(FUZZ_TIME) $(fuzz_names)
fuzz-%: tests/fuzz/%_test.c
	@$(MAKE) --no-print-directory fuzz FUZZ_ONLY=$*
include tests/bench/room.mk
