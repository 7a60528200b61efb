/*
 * Deciders' decisions as tables. A case is a row of steps; each step shows the
 * whole map at a moment and says what is decided then. Maps are written a
 * line an entry: kind, name, then attribute=value, with `_` for a space:
 *
 *   tr=-100:60:drain:100   a transition of 100 s ago, ramp 60
 *   alive=-2               postcellAlive as of 2 s ago
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/timestamp.h"
#include "replica/decide.h"

/* 2026-01-02 03:04:05 */
#define NOW (INT64_C(1767323045) * TIMESTAMP_SECOND)

#define POOL "pool mail ramp=60\n"
#define BASE "tr=base:0:up:100 "
#define SERVER(name, more)                                                     \
	"server " name " pool=mail site=here service=imap://" name " " more "\n"
#define M1                   SERVER("m1", BASE)
#define M2                   SERVER("m2", BASE)
#define M3                   SERVER("m3", BASE)
#define OBSERVER(name, more) "proxy " name " site=here " BASE more "\n"
#define LIVE                 "alive=-2 "
#define GONE                 "alive=-20 "
#define O1                   OBSERVER("o1", LIVE)
#define O2                   OBSERVER("o2", LIVE)
#define O3                   OBSERVER("o3", LIVE)
#define REFUSED(name)        "vote=" name "_down "
#define SUSPECT(name)        "vote=" name "_silent "
#define SILENT(name)         "vote=" name "_silent vote=" name "_down "

struct step {
	const char *name; /* of the case; NULL: the case goes on */
	int at_ms;        /* since the case began */
	const char *map;
	const char *expected;
	int delay_ms; /* of a case's first step: of this decider */
};

static const struct step steps[] = {
	/* A majority of all that are registered, no less. */
	{ "nobody says anything", 0, POOL M1 M2 M3 O1 O2 O3, "", 0 },
	{ "one of three is refused", 0,
	    POOL M1 M2 M3 OBSERVER("o1", LIVE REFUSED("m1")) O2 O3, "", 0 },
	{ "two of three are refused", 0,
	    POOL M1 M2 M3 OBSERVER("o1", LIVE REFUSED("m1"))
		OBSERVER("o2", LIVE REFUSED("m1")) O3,
	    "failed m1 failed/100/0", 0 },
	{ "one of two is no majority", 0,
	    POOL M1 M2 M3 OBSERVER("o1", LIVE REFUSED("m1")) O2, "", 0 },
	{ "two of four are no majority", 0,
	    POOL M1 M2 M3 OBSERVER("o1", LIVE REFUSED("m1"))
		OBSERVER("o2", LIVE REFUSED("m1")) O3 OBSERVER("o4", LIVE),
	    "", 0 },
	{ "a single observer decides by itself", 0,
	    POOL M1 M2 M3 OBSERVER("o1", LIVE REFUSED("m1")),
	    "failed m1 failed/100/0", 0 },
	{ "a proxy that observes nothing does not count", 0,
	    POOL M1 M2 M3 OBSERVER("o1", LIVE REFUSED("m1")) OBSERVER("p2", "")
		OBSERVER("p3", ""),
	    "failed m1 failed/100/0", 0 },
	{ "nobody observes", 0, POOL M1 M2 M3 OBSERVER("p2", ""), "", 0 },
	{ "names are compared without case", 0,
	    POOL M1 M2 M3 OBSERVER("o1", LIVE "vote=M1_DOWN "),
	    "failed m1 failed/100/0", 0 },
	{ "other words and unknown names are left alone", 0,
	    POOL M1 M2 M3 OBSERVER("o1", LIVE
		"vote=m1_slow vote=m9_down vote=down vote=m1 vote=m1down "),
	    "", 0 },
	{ "the weight that holds stays in the value", 0,
	    POOL SERVER("m1", "tr=base:0:up:30 weight=30 ")
		M2 M3 OBSERVER("o1", LIVE REFUSED("m1")),
	    "failed m1 failed/30/0", 0 },

	/* Observers that are silent. */
	{ "the votes of one silent are void, it counts among all", 0,
	    POOL M1 M2 M3 OBSERVER("o1", GONE REFUSED("m1"))
		OBSERVER("o2", LIVE REFUSED("m1")) O3,
	    "", 0 },
	{ "two live ones of four with a silent one", 0,
	    POOL M1 M2 M3 OBSERVER("o1", LIVE REFUSED("m1"))
		OBSERVER("o2", LIVE REFUSED("m1"))
		    OBSERVER("o3", GONE REFUSED("m1")) OBSERVER("o4", LIVE),
	    "", 0 },
	{ "falls silent: alive", 0, POOL M1 M2 M3 OBSERVER("o1", "alive=-2 "),
	    "", 0 },
	{ NULL, 14900, POOL M1 M2 M3 OBSERVER("o1", "alive=-2 " REFUSED("m1")),
	    "failed m1 failed/100/0", 0 },
	{ NULL, 15000, POOL M1 M2 M3 OBSERVER("o1", "alive=-2 " REFUSED("m1")),
	    "", 0 },
	{ NULL, 16000, POOL M1 M2 M3 OBSERVER("o1", "alive=3 " REFUSED("m1")),
	    "failed m1 failed/100/0", 0 },
	{ "an observer's clock is an hour behind", 0,
	    POOL M1 M2 M3 OBSERVER("o1", "alive=-3600 " REFUSED("m1")), "", 0 },
	{ NULL, 5000,
	    POOL M1 M2 M3 OBSERVER("o1", "alive=-3595 " REFUSED("m1")),
	    "failed m1 failed/100/0", 0 },
	{ "an observer's clock is an hour ahead", 0,
	    POOL M1 M2 M3 OBSERVER("o1", "alive=3600 " REFUSED("m1")), "", 0 },
	{ NULL, 5000, POOL M1 M2 M3 OBSERVER("o1", "alive=3605 " REFUSED("m1")),
	    "failed m1 failed/100/0", 0 },

	/* What may fail. */
	{ "it has failed already", 0,
	    POOL SERVER("m1", BASE "tr=-9:0:failed:100 ")
		M2 M3 OBSERVER("o1", LIVE REFUSED("m1")),
	    "", 0 },
	{ "it is down", 0,
	    POOL SERVER("m1", BASE "tr=-9:0:down:100 state=down ")
		M2 M3 OBSERVER("o1", LIVE REFUSED("m1")),
	    "", 0 },
	{ "it drains", 0,
	    POOL SERVER("m1", BASE "tr=-9:60:drain:100 state=drain ")
		M2 M3 OBSERVER("o1", LIVE REFUSED("m1")),
	    "failed m1 failed/100/0", 0 },
	{ "it is drained", 0,
	    POOL SERVER("m1", BASE "tr=-61:60:drain:100 state=drain ")
		M2 M3 OBSERVER("o1", LIVE REFUSED("m1")),
	    "", 0 },
	{ "it comes up, in the middle of its ramp", 0,
	    POOL SERVER("m1", BASE "tr=-99:0:down:100 tr=-9:60:up:100 ")
		M2 M3 OBSERVER("o1", LIVE REFUSED("m1")),
	    "failed m1 failed/100/0", 0 },
	{ "its pool is not there", 0,
	    POOL "server m1 pool=other service=imap://m1 " BASE
		 "\n" M2 M3 OBSERVER("o1", LIVE REFUSED("m1")),
	    "", 0 },
	{ "it has no service: nobody can see it", 0,
	    POOL "server m1 pool=mail " BASE
		 "\n" M2 M3 OBSERVER("o1", LIVE REFUSED("m1")),
	    "", 0 },
	{ "a clock jumped: TIME is after the newest", 0,
	    POOL SERVER("m1", BASE "tr=5:0:up:100 ")
		M2 M3 OBSERVER("o1", LIVE REFUSED("m1")),
	    "failed m1 failed/100/0", 0 },

	{ "brought up by hand before observers see it up", 0,
	    POOL SERVER("m1", BASE "tr=-9:0:failed:100 ")
		M2 M3 OBSERVER("o1", LIVE REFUSED("m1")),
	    "", 0 },
	{ NULL, 2000,
	    POOL SERVER("m1", BASE "tr=-9:0:failed:100 tr=2:0:up:100 ")
		M2 M3 OBSERVER("o1", LIVE REFUSED("m1")),
	    "", 0 },
	{ NULL, 5000,
	    POOL SERVER("m1", BASE "tr=-9:0:failed:100 tr=2:0:up:100 ")
		M2 M3 O1,
	    "", 0 },
	{ NULL, 6000,
	    POOL SERVER("m1", BASE "tr=-9:0:failed:100 tr=2:0:up:100 ")
		M2 M3 OBSERVER("o1", LIVE REFUSED("m1")),
	    "failed m1 failed/100/0", 0 },
	{ "brought up by hand, and nobody ever sees it up", 0,
	    POOL SERVER("m1", BASE "tr=-9:0:failed:100 ")
		M2 M3 OBSERVER("o1", LIVE REFUSED("m1")),
	    "", 0 },
	{ NULL, 2000,
	    POOL SERVER("m1", BASE "tr=-9:0:failed:100 tr=2:0:up:100 ")
		M2 M3 OBSERVER("o1", LIVE REFUSED("m1")),
	    "", 0 },
	{ NULL, 7999,
	    POOL SERVER("m1", BASE "tr=-9:0:failed:100 tr=2:0:up:100 ")
		M2 M3 OBSERVER("o1", LIVE REFUSED("m1")),
	    "", 0 },
	{ NULL, 8000,
	    POOL SERVER("m1", BASE "tr=-9:0:failed:100 tr=2:0:up:100 ")
		M2 M3 OBSERVER("o1", LIVE REFUSED("m1")),
	    "failed m1 failed/100/0", 0 },

	/* Faults that strike several. */
	{ "one is silent: suspected first", 0,
	    POOL M1 M2 M3 OBSERVER("o1", LIVE SUSPECT("m1")), "", 0 },
	{ NULL, 1000, POOL M1 M2 M3 OBSERVER("o1", LIVE SILENT("m1")),
	    "failed m1 failed/100/0", 0 },
	{ "two of three are silent", 0,
	    POOL M1 M2 M3 OBSERVER("o1", LIVE SILENT("m1") SILENT("m2")),
	    "held m1, held m2", 0 },
	{ NULL, 10,
	    POOL M1 M2 M3 OBSERVER("o1", LIVE SILENT("m1") SILENT("m2")), "",
	    0 },
	{ "struck together they come back one after the other", 0,
	    POOL M1 M2 M3 OBSERVER(
		"o1", LIVE SILENT("m1") SILENT("m2") SILENT("m3")),
	    "held m1, held m2, held m3", 0 },
	{ NULL, 5000,
	    POOL M1 M2 M3 OBSERVER("o1", LIVE SILENT("m2") SILENT("m3")), "",
	    0 },
	{ NULL, 5300, POOL M1 M2 M3 OBSERVER("o1", LIVE SILENT("m3")), "", 0 },
	{ NULL, 5600, POOL M1 M2 M3 O1, "", 0 },
	{ "all but one of them come back", 0,
	    POOL M1 M2 M3 OBSERVER("o1", LIVE SILENT("m1") SILENT("m2")),
	    "held m1, held m2", 0 },
	{ NULL, 1000, POOL M1 M2 M3 OBSERVER("o1", LIVE SILENT("m1")), "", 0 },
	{ NULL, 9999, POOL M1 M2 M3 OBSERVER("o1", LIVE SILENT("m1")), "", 0 },
	{ NULL, 10000, POOL M1 M2 M3 OBSERVER("o1", LIVE SILENT("m1")),
	    "failed m1 failed/100/0", 0 },
	{ "all were restarted at once", 0,
	    POOL M1 M2 M3 OBSERVER(
		"o1", LIVE REFUSED("m1") REFUSED("m2") REFUSED("m3")),
	    "held m1, held m2, held m3", 0 },
	{ NULL, 4000,
	    POOL M1 M2 M3 OBSERVER("o1", LIVE REFUSED("m2") REFUSED("m3")), "",
	    0 },
	{ NULL, 4300, POOL M1 M2 M3 O1, "", 0 },
	{ "one that was up in between is a case of its own", 0,
	    POOL M1 M2 M3 OBSERVER("o1", LIVE SILENT("m1") SILENT("m2")),
	    "held m1, held m2", 0 },
	{ NULL, 3000, POOL M1 M2 M3 O1, "", 0 },
	{ NULL, 3500, POOL M1 M2 M3 OBSERVER("o1", LIVE SILENT("m1")),
	    "failed m1 failed/100/0", 0 },
	{ "all are silent, the others only a moment later", 0,
	    POOL M1 M2 M3 OBSERVER(
		"o1", LIVE SILENT("m1") SUSPECT("m2") SUSPECT("m3")),
	    "held m1", 0 },
	{ "one is silent, another is refused", 0,
	    POOL M1 M2 M3 OBSERVER("o1", LIVE SILENT("m1") REFUSED("m2")),
	    "held m1, failed m2 failed/100/0", 0 },
	{ "two are refused: each at once", 0,
	    POOL M1 M2 M3 OBSERVER("o1", LIVE REFUSED("m1") REFUSED("m2")),
	    "failed m1 failed/100/0, failed m2 failed/100/0", 0 },
	{ "all are refused: nobody is left to serve", 0,
	    POOL M1 M2 M3 OBSERVER(
		"o1", LIVE REFUSED("m1") REFUSED("m2") REFUSED("m3")),
	    "held m1, held m2, held m3", 0 },
	{ "the last one that is up stays", 0,
	    POOL M1 SERVER("m2", BASE "tr=-9:0:failed:100 ")
		SERVER("m3", BASE "tr=-9:0:down:100 state=down ")
		    OBSERVER("o1", LIVE REFUSED("m1") REFUSED("m2")),
	    "held m1", 0 },
	{ "a pool of one", 0, POOL M1 OBSERVER("o1", LIVE REFUSED("m1")),
	    "held m1", 0 },
	{ "refused by some, silent to others", 0,
	    POOL M1 M2 M3 OBSERVER("o1", LIVE REFUSED("m1") SUSPECT("m2"))
		OBSERVER("o2", LIVE SILENT("m1") SUSPECT("m2")) O3,
	    "held m1", 0 },
	{ "one that failed long ago still counts as struck", 0,
	    POOL M1 SERVER("m2", BASE "tr=-9999:0:failed:100 ")
		M3 OBSERVER("o1", LIVE SILENT("m1") REFUSED("m2")),
	    "held m1", 0 },
	{ "one that an administrator took down does not", 0,
	    POOL M1 SERVER("m2", BASE "tr=-9999:0:down:100 state=down ")
		M3 OBSERVER("o1", LIVE SILENT("m1") REFUSED("m2")),
	    "failed m1 failed/100/0", 0 },
	{ "postcellMaxDown allows two", 0,
	    "pool mail ramp=60 maxdown=2\n" M1 M2 M3 OBSERVER(
		"o1", LIVE SILENT("m1") SILENT("m2")),
	    "failed m1 failed/100/0, failed m2 failed/100/0", 0 },
	{ "a third of six are two", 0,
	    POOL M1 M2 M3 SERVER("m4", BASE) SERVER("m5", BASE) SERVER(
		"m6", BASE) OBSERVER("o1", LIVE SILENT("m1") SILENT("m2")),
	    "failed m1 failed/100/0, failed m2 failed/100/0", 0 },
	{ "three of six are too many", 0,
	    POOL M1 M2 M3 SERVER("m4", BASE) SERVER("m5", BASE)
		SERVER("m6", BASE) OBSERVER(
		    "o1", LIVE SILENT("m1") SILENT("m2") SUSPECT("m6")),
	    "held m1, held m2", 0 },
	{ "what strikes another pool does not matter", 0,
	    POOL "pool other\n" M1 M2
		 "server x1 pool=other service=imap://x1 " BASE "\n"
		 "server x2 pool=other service=imap://x2 " BASE
		 "\n" OBSERVER("o1", LIVE SILENT("m1") SILENT("x1")),
	    "failed m1 failed/100/0, failed x1 failed/100/0", 0 },

	/* Sites. */
	{ "one of another site that sees the site", 0,
	    POOL M1 M2 M3 "proxy o1 site=there " BASE LIVE REFUSED("m1") "\n",
	    "failed m1 failed/100/0", 0 },
	{ "one of another site that sees nothing there", 0,
	    POOL M1 M2
	    "server m9 pool=mail site=there service=imap://m9 " BASE "\n"
	    "proxy o1 site=there " BASE LIVE REFUSED("m1") REFUSED("m2") "\n",
	    "", 0 },
	{ "a cut-off site: each half sees the other one silent", 0,
	    POOL M1 M2 M3 O1 O2
	    "proxy o3 site=there " BASE LIVE SILENT("m1") SILENT("m2") SILENT(
		"m3") "\n"
		      "proxy o4 site=there " BASE LIVE SILENT("m1") SILENT("m2")
			  SILENT("m3") "\n"
				       "proxy o5 site=there " BASE LIVE SILENT(
					   "m1") SILENT("m2") SILENT("m3") "\n",
	    "", 0 },
	{ "a site of one host cannot be told from one cut off", 0,
	    POOL M2 M3 "server m1 pool=mail site=there service=imap://m1 " BASE
		       "\n" OBSERVER("o1", LIVE REFUSED("m1")),
	    "", 0 },
	{ "what is suspected there is not seen", 0,
	    POOL M1 M2
	    "server m9 pool=mail site=there service=imap://m9 " BASE "\n"
	    "proxy o1 site=there " BASE LIVE REFUSED("m1") SUSPECT("m2") "\n",
	    "", 0 },

	/* Proxies and other hosts. */
	{ "a proxy fails", 0,
	    POOL M1 "proxy p1 site=here service=imap://p1 " BASE LIVE "\n"
		    "proxy p2 site=here service=imap://p2 " BASE LIVE REFUSED(
			"p1") "\n" OBSERVER("o1", LIVE REFUSED("p1")),
	    "failed p1 failed/100/0", 0 },
	{ "a proxy has no vote on itself", 0,
	    POOL M1 "proxy p1 site=here service=imap://p1 " BASE LIVE REFUSED(
		"p1") "\n"
		      "proxy p2 site=here service=imap://p2 " BASE LIVE REFUSED(
			  "p1") "\n" O1,
	    "", 0 },
	{ "the only name server stays, one of two directories does not", 0,
	    POOL M1 "host d1 service=dns://d1 " BASE "\n"
		    "host l1 service=ldap://l1 " BASE "\n"
		    "host l2 service=ldap://l2 " BASE "\n"
		    "proxy o1 " BASE LIVE REFUSED("d1") REFUSED("l1") "\n",
	    "held d1, failed l1 failed/100/0", 0 },
	{ "one name for a server and a proxy says nothing", 0,
	    POOL M1 M2 "proxy m1 service=imap://m1 " BASE
		       "\n" OBSERVER("o1", LIVE REFUSED("m1")),
	    "", 0 },
	{ "with its kind the name is clear", 0,
	    POOL M1 M2 "proxy m1 service=imap://m1 " BASE
		       "\n" OBSERVER("o1", LIVE REFUSED("server/m1")),
	    "failed m1 failed/100/0", 0 },

	/* Return. */
	{ "it is up again, 300 s later", 0,
	    POOL SERVER("m1", BASE "tr=-300:0:failed:100 ") M2 O1,
	    "return m1 up/100/60", 0 },
	{ "too early", 0, POOL SERVER("m1", BASE "tr=-299:0:failed:100 ") M2 O1,
	    "", 0 },
	{ "a majority has to see it up", 0,
	    POOL SERVER("m1", BASE "tr=-300:0:failed:100 ")
		M2 O1 OBSERVER("o2", LIVE REFUSED("m1")) OBSERVER("o3", GONE),
	    "", 0 },
	{ "a suspicion is not up", 0,
	    POOL SERVER("m1", BASE "tr=-300:0:failed:100 ")
		M2 OBSERVER("o1", LIVE SUSPECT("m1")),
	    "", 0 },
	{ "nobody watches: nothing returns", 0,
	    POOL SERVER("m1", BASE "tr=-300:0:failed:100 ")
		M2 OBSERVER("o1", GONE),
	    "", 0 },
	{ "failback is manual", 0,
	    "pool mail ramp=60 failback=manual\n" SERVER(
		"m1", BASE "tr=-300:0:failed:100 ") M2 O1,
	    "", 0 },
	{ "the wish has another weight by now", 0,
	    POOL SERVER("m1", BASE "tr=-300:0:failed:100 weight=50 ") M2 O1,
	    "return m1 up/50/60", 0 },
	{ "the wish is to drain", 0,
	    POOL SERVER("m1", BASE "tr=-300:0:failed:100 state=drain ") M2 O1,
	    "return m1 drain/100/60", 0 },
	{ "the wish is down: at once, and without a ramp", 0,
	    POOL SERVER("m1", BASE "tr=-5:0:failed:100 state=down ")
		M2 OBSERVER("o1", LIVE REFUSED("m1")),
	    "wish m1 down/100/0", 0 },
	{ "a proxy returns without a ramp", 0,
	    POOL M1 "proxy p1 service=imap://p1 tr=-300:0:failed:100 " LIVE
		    "\n" OBSERVER("o1", LIVE) OBSERVER("o2", LIVE),
	    "return p1 up/100/0", 0 },

	/* A wish without a transition. */
	{ "somebody edits the wish", 0,
	    POOL SERVER("m1", BASE "state=drain ") M2 O1, "", 0 },
	{ NULL, 999, POOL SERVER("m1", BASE "state=drain ") M2 O1, "", 0 },
	{ NULL, 1000, POOL SERVER("m1", BASE "state=drain ") M2 O1,
	    "wish m1 drain/100/60", 0 },
	{ "edits it again: a second from then on", 0,
	    POOL SERVER("m1", BASE "state=drain ") M2 O1, "", 0 },
	{ NULL, 900, POOL SERVER("m1", BASE "state=down ") M2 O1, "", 0 },
	{ NULL, 1800, POOL SERVER("m1", BASE "state=down ") M2 O1, "", 0 },
	{ NULL, 1900, POOL SERVER("m1", BASE "state=down ") M2 O1,
	    "wish m1 down/100/0", 0 },
	{ "edits it, and somebody completes it", 0,
	    POOL SERVER("m1", BASE "weight=10 ") M2 O1, "", 0 },
	{ NULL, 900, POOL SERVER("m1", BASE "tr=0:60:up:10 weight=10 ") M2 O1,
	    "", 0 },
	{ NULL, 9000, POOL SERVER("m1", BASE "tr=0:60:up:10 weight=10 ") M2 O1,
	    "", 0 },
	{ "the weight alone", 0, POOL SERVER("m1", BASE "weight=10 ") M2 O1, "",
	    0 },
	{ NULL, 1000, POOL SERVER("m1", BASE "weight=10 ") M2 O1,
	    "wish m1 up/10/60", 0 },
	{ "no observer is needed for it", 0,
	    POOL SERVER("m1", BASE "weight=10 ") M2, "", 0 },
	{ NULL, 1000, POOL SERVER("m1", BASE "weight=10 ") M2,
	    "wish m1 up/10/60", 0 },
	{ "all its values lie in a far future", 0,
	    POOL SERVER("m1", "tr=99999:0:down:100 ") M2 O1, "", 0 },
	{ NULL, 1000, POOL SERVER("m1", "tr=99999:0:down:100 ") M2 O1,
	    "wish m1 up/100/60", 0 },

	/* A base. */
	{ "without values, nothing is known of before", 0,
	    POOL SERVER("m1", "state=drain weight=7 ") M2 O1,
	    "base m1 drain/7/0", 0 },
	{ "even when it is refused", 0,
	    POOL SERVER("m1", "") M2 OBSERVER("o1", LIVE REFUSED("m1")),
	    "base m1 up/100/0", 0 },
	{ "a base that is too young", 0,
	    POOL SERVER("m1", BASE "csn=-0.5 ")
		M2 OBSERVER("o1", LIVE REFUSED("m1")),
	    "", 0 },
	{ NULL, 600,
	    POOL SERVER("m1", BASE "csn=-0.5 ")
		M2 OBSERVER("o1", LIVE REFUSED("m1")),
	    "failed m1 failed/100/0", 0 },

	/* The second decider lets the first one write. */
	{ "the first wrote in time", 0,
	    POOL M1 M2 OBSERVER("o1", LIVE REFUSED("m1")), "", 500 },
	{ NULL, 400,
	    POOL SERVER("m1", BASE "tr=0:0:failed:100 ")
		M2 OBSERVER("o1", LIVE REFUSED("m1")),
	    "", 0 },
	{ NULL, 900,
	    POOL SERVER("m1", BASE "tr=0:0:failed:100 ")
		M2 OBSERVER("o1", LIVE REFUSED("m1")),
	    "", 0 },
	{ "the first did not", 0, POOL M1 M2 OBSERVER("o1", LIVE REFUSED("m1")),
	    "", 500 },
	{ NULL, 499, POOL M1 M2 OBSERVER("o1", LIVE REFUSED("m1")), "", 0 },
	{ NULL, 500, POOL M1 M2 OBSERVER("o1", LIVE REFUSED("m1")),
	    "failed m1 failed/100/0", 0 },
	{ "it recovered in between", 0,
	    POOL M1 M2 OBSERVER("o1", LIVE REFUSED("m1")), "", 500 },
	{ NULL, 300, POOL M1 M2 O1, "", 0 },
	{ NULL, 600, POOL M1 M2 OBSERVER("o1", LIVE REFUSED("m1")), "", 0 },
	{ NULL, 1100, POOL M1 M2 OBSERVER("o1", LIVE REFUSED("m1")),
	    "failed m1 failed/100/0", 0 },
};

static const struct {
	const char *name;
	enum cell_tag tag;
} tags[] = {
	{ "pool", CELL_POOL },
	{ "site", CELL_SITE },
	{ "service", CELL_SERVICE },
	{ "state", CELL_STATE },
	{ "weight", CELL_WEIGHT },
	{ "tr", CELL_TRANSITION },
	{ "alive", CELL_ALIVE },
	{ "vote", CELL_VOTE },
	{ "ramp", CELL_RAMP },
	{ "failback", CELL_FAILBACK },
	{ "maxdown", CELL_MAX_DOWN },
	{ "csn", CELL_CSN },
};

/* Seconds from the start of the case, or "base". */
static void
add_time(struct buf *out, const char *text)
{
	int64_t moment = strncmp(text, "base", 4) == 0
			     ? 0
			     : NOW + (int64_t)(strtod(text, NULL) * 1e6);

	assert_int_equal(timestamp_format(out, moment), 0);
}

static void
add_value(struct buf *out, enum cell_tag tag, const char *text)
{
	if (tag == CELL_ALIVE || tag == CELL_TRANSITION || tag == CELL_CSN)
		add_time(out, text);
	if (tag == CELL_TRANSITION)
		text = strchr(text, ':');
	if (tag == CELL_CSN)
		buf_add_string(out, "#000000#001#000000");
	if (tag == CELL_ALIVE || tag == CELL_CSN)
		return;
	for (; *text != '\0'; text++)
		buf_add_char(out, *text == '_' ? ' '
				  : *text == ':' && tag == CELL_TRANSITION
				      ? ' '
				      : *text);
}

static void
add_attribute(struct buf *record, char *word)
{
	struct buf value = buf_bounded(1024);
	char *equal = strchr(word, '=');

	assert_non_null(equal);
	*equal = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(tags); i++) {
		if (strcmp(tags[i].name, word) != 0)
			continue;
		add_value(&value, tags[i].tag, equal + 1);
		record_add(record, (uint8_t)tags[i].tag, buf_slice(&value));
		buf_free(&value);
		return;
	}
	fail_msg("no attribute %s", word);
}

static struct cell *
read_map(const char *map)
{
	struct cell *cell = cell_new();
	char *text = strdup(map), *lines = NULL, *words = NULL;

	for (char *line = strtok_r(text, "\n", &lines); line;
	     line = strtok_r(NULL, "\n", &lines)) {
		struct buf record = buf_bounded(4096);

		record_add(&record, CELL_KIND,
		    slice_from(strtok_r(line, " ", &words)));
		record_add(&record, CELL_NAME,
		    slice_from(strtok_r(NULL, " ", &words)));
		for (char *word = strtok_r(NULL, " ", &words); word;
		     word = strtok_r(NULL, " ", &words))
			add_attribute(&record, word);
		assert_int_equal(cell_add(cell, buf_slice(&record)), 0);
		buf_free(&record);
	}
	free(text);
	assert_int_equal(cell_finish(cell), 0);
	assert_string_equal(
	    cell_faults(cell).size > 0 &&
		    !slice_starts_nocase(cell_faults(cell), "server")
		? cell_faults(cell).data
		: "",
	    "");
	return cell;
}

static void
describe(struct buf *out, const struct decision *decision)
{
	buf_printf(out, "%s%s %.*s", out->size > 0 ? ", " : "",
	    decision_kind_text(decision->kind),
	    SLICE_ARGS(decision->host->name));
	if (decision->kind != DECISION_HELD)
		buf_printf(out, " %s/%u/%u",
		    host_state_text(decision->change.value.state),
		    decision->change.value.weight, decision->change.value.ramp);
}

/* What every value to be written owes lib/change.h. */
static void
check_change(const struct decision *decision, int64_t now_us)
{
	const struct change *change = &decision->change;
	const struct host *host = decision->host;
	size_t count = host->transition_count - change->ahead;

	if (decision->kind == DECISION_BASE) {
		assert_int_equal(change->step, CHANGE_BASE);
		assert_int_equal(change->value.time_us, 0);
		return;
	}
	assert_int_equal(change->step, CHANGE_WRITE);
	assert_true(change->value.time_us >= now_us);
	if (count > 0)
		assert_true(change->value.time_us >
			    host->transitions[count - 1].time_us);
}

static void
test_table(void **state)
{
	struct decide_settings settings = {
		.return_after_ms = DECIDE_RETURN_AFTER,
		.wish_after_ms = DECIDE_WISH_AFTER,
		.silent_after_ms = DECIDE_SILENT_AFTER,
		.hold_after_ms = DECIDE_HOLD_AFTER,
		.grace_ms = DECIDE_GRACE,
	};
	struct decide *decide = NULL;
	const char *name = "";

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		const struct step *step = &steps[i];
		struct cell *cell = read_map(step->map);
		struct buf text = buf_bounded(4096);
		int64_t now_us = NOW + (int64_t)step->at_ms * 1000;
		const struct decision *decisions;
		size_t count;

		if (step->name) {
			name = step->name;
			settings.delay_ms = step->delay_ms;
			decide_free(&decide);
			decide = decide_new(&settings);
		}
		decisions = decide_run(
		    decide, cell, now_us, 1000000 + step->at_ms, &count);
		assert_non_null(decisions);
		for (size_t k = 0; k < count; k++) {
			describe(&text, &decisions[k]);
			assert_non_null(decisions[k].why);
			if (decisions[k].kind != DECISION_HELD)
				check_change(&decisions[k], now_us);
		}
		if (strcmp(buf_string(&text), step->expected) != 0)
			fail_msg("%s, at %d ms: \"%s\" instead of \"%s\"", name,
			    step->at_ms, buf_string(&text), step->expected);
		buf_free(&text);
		cell_free(&cell);
	}
	decide_free(&decide);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
