# The bench. Its programs are built by `make bench` alone; what else it needs
# comes from Debian (tools/bootstrap bench).
#
#   make bench                  all of it: the figures of BENCHMARKS.md
#   make bench BENCH=quick      a short form, some minutes
#   make bench FIRST=1          on a busy machine, as root: before all else there
#   make bench ONLY=login,tls   some of the measures, PEERS=... some of the proxies
ROUNDS ?=
ONLY ?=
BENCH ?=
FIRST ?=
PEERS ?=
BENCH_NET ?= 127.0.100

bench_programs := tests/bench/asreq tests/bench/derive tests/bench/sink tests/bench/load tests/bench/replica_bench
# Scenarios measure with some of them.
TESTS += $(filter-out $(scenario_programs),$(bench_programs))
tests/bench/sink_SOURCES := tests/bench/sink.c
tests/bench/load_SOURCES := tests/bench/load.c
tests/bench/load_PACKAGES := openssl
tests/bench/replica_bench_SOURCES := tests/bench/replica_bench.c
tests/bench/replica_bench_USES := libpostcell-replica-reader libpostcell
tests/bench/replica_bench_PACKAGES := lmdb $(libpostcell_PACKAGES)

tests/bench/asreq_SOURCES := tests/bench/asreq.c
tests/bench/asreq_PACKAGES := heimdal-krb5
tests/bench/asreq_LIBS := -lasn1
tests/bench/derive_SOURCES := tests/bench/derive.c
tests/bench/derive_USES := $(slapd-overlay_TEST_USES)
tests/bench/derive_PACKAGES := $(slapd-overlay_TEST_PACKAGES)
tests/bench/derive_LIBS := $(slapd-overlay_TEST_LIBS)

.PHONY: bench bench-bind bench-kdc bench-gssapi
# A bind, beside the key that is derived for it.
bench-bind: $(BUILD)/tests/bench/derive all
	tools/bootstrap build cell
	POSTCELL_BUILD=$(abspath $(BUILD)) /usr/bin/python3 tests/bench/bind.py \
		$(if $(FIRST),--first) $(if $(ROUNDS),--rounds $(ROUNDS))
# Logins by ticket beside those by password.
bench-gssapi: all
	tools/bootstrap build cell check
	POSTCELL_BUILD=$(abspath $(BUILD)) /usr/bin/python3 tests/bench/tickets.py \
		$(if $(FIRST),--first) $(if $(ROUNDS),--rounds $(ROUNDS))
# Tickets by our back end and by Heimdal's own.
bench-kdc: $(BUILD)/tests/bench/asreq all
	tools/bootstrap build cell
	POSTCELL_BUILD=$(abspath $(BUILD)) /usr/bin/python3 tests/bench/kdc.py \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(FIRST),--first)
bench: $(addprefix $(BUILD)/,$(bench_programs)) all
	tools/bootstrap build bench
	/usr/bin/python3 tests/bench/bench.py --build $(BUILD) --net $(BENCH_NET) \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only $(ONLY)) \
		$(if $(PEERS),--peers $(PEERS)) $(if $(filter quick,$(BENCH)),--quick) \
		$(if $(FIRST),--first)
