/*
 * The lease and eviction protocol of one folder name, for spin: README.md beside it says what is modelled, and what not.
 *
 *   spin -a -DCAREFUL -DSIMPLE lease.pml
 *   gcc -O1 -DSAFETY -DCOLLAPSE -o pan pan.c && ./pan -m200000
 *
 * Who takes part, any of -DCAREFUL -DCAREFUL2 (our client), -DSIMPLE -DSIMPLE2 (mktemp and test -e, all by path),
 * -DBESIDE (a lease beside the folder), -DBEATING (a lease that has to be touched), -DFLOCK (flock -s FOLDER CMD),
 * -DREMOTE (a simple client of another host, on a filesystem whose views lag), -DMOUNTED (has the folder itself mounted),
 * -DREPLACER (its owner moves the folder away and makes another), -DREAPER (removes what is dead or stale),
 * -DTWOEV (a second evictor by mistake).
 *
 * An array is indexed by inodes from 1; 0 is none. A mask has a bit for each holder. What one system call does is one step.
 */

/* How much of everything there is. */
#ifndef R
#define R 1             /* rounds of each client */
#endif
#ifndef E
#define E 2             /* evictions tried while clients are at work */
#endif
#ifndef CRASHES
#define CRASHES 1       /* of an evictor, anywhere */
#endif
#ifndef KILLS
#define KILLS 1         /* of careful clients, at work */
#endif

/* What the filesystem can do. */
#ifndef LOCK
#define LOCK 1          /* it has flock */
#endif
#ifndef MODES
#define MODES 1         /* the mark can be set */
#endif

/* What the contract asks of clients, beyond what is checked below. */
#ifndef OWNFILE
#define OWNFILE 1       /* a lease file for each holder */
#endif
#ifndef REMAKE
#define REMAKE 1        /* a simple client makes its folder again, as many tools do, and works in whatever has the name */
#endif
#ifndef AGAIN
#define AGAIN 0         /* a simple client whose folder is away when it releases tries again */
#endif
#ifndef RENEW
#define RENEW 1         /* who touched its lease too late takes another */
#endif
#ifndef STRICT
#define STRICT 0        /* in the end nothing at all may be left, not even where a lease file is */
#endif
#ifndef EARLY
#define EARLY 0         /* a bare lease in a parked folder may end at any moment, and not only when all is quiet */
#endif

/* The checks of the evictor. */
#ifndef STILL
#define STILL 1         /* once it is locked: the name still names it */
#endif
#ifndef LOOK1
#define LOOK1 1         /* leases, before it is moved */
#endif
#ifndef PARKNAME
#define PARKNAME 1      /* a name is leased while another folder of that name is parked */
#endif
#ifndef ONCE
#define ONCE 1          /* what an entry of a slot is called is never used again */
#endif
#ifndef SAME
#define SAME 1          /* what was moved is what was opened */
#endif
#ifndef SETTLE
#define SETTLE 1        /* wait for lagging views before the second look */
#endif
#ifndef DEAD
#define DEAD 1          /* a lease that says that it is locked, and isn't, does not hold */
#endif
#ifndef LOOK2
#define LOOK2 1         /* leases, once it is moved */
#endif
#ifndef CONDEMN
#define CONDEMN 1       /* a place of its own for what is no longer whole */
#endif
#ifndef MARK
#define MARK 1          /* on the inode, before it is condemned */
#endif
#ifndef HOLD
#define HOLD 1          /* the lock is held until the folder is gone */
#endif

/* The checks of recovery. */
#ifndef RLOCK
#define RLOCK 1         /* whole folders are dealt with under the lock only */
#endif
#ifndef RSTILL
#define RSTILL 1        /* once it is locked: the slot still holds it */
#endif
#ifndef RLOOK
#define RLOOK 1         /* leases, before it is condemned */
#endif
#ifndef RSETTLE
#define RSETTLE 1       /* wait for lagging views before that look */
#endif
#ifndef RBACK
#define RBACK 1         /* it goes back where its name is free */
#endif
#ifndef UNMARK
#define UNMARK 1        /* without a mark */
#endif
#ifndef DLOCK
#define DLOCK 1         /* what is condemned is deleted under the lock only */
#endif
#ifndef EXPIRE
#define EXPIRE 1        /* bare leases in a parked folder end (parked_ttl) */
#endif

/* The checks of clients. */
#ifndef VERIFY1
#define VERIFY1 1       /* careful: once it is locked, the path still names it */
#endif
#ifndef VERIFY2
#define VERIFY2 1       /* careful: once its lease is there, the path still names it */
#endif
#ifndef LINKS
#define LINKS 1         /* careful, mounted: it has links */
#endif
#ifndef CMARK
#define CMARK 1         /* careful: it has no mark */
#endif
#ifndef MMARK1
#define MMARK1 1        /* mounted: it has no mark when it is locked */
#endif
#ifndef MMARK2
#define MMARK2 1        /* mounted: nor once the lease is there */
#endif
#ifndef PUTLOCKED
#define PUTLOCKED 1     /* careful: its file appears locked */
#endif
#ifndef CONFIRM
#define CONFIRM 1       /* simple, beside, remote: test -e, once */
#endif
#ifndef COMPARE
#define COMPARE 1       /* flock: the command sees that the path names what is locked */
#endif

#ifdef REPLACER
#define REPLACED 1
#else
#define REPLACED 0
#endif
#ifdef TWOEV
#define EVICTORS 2
#else
#define EVICTORS 1
#endif

#define NI 3            /* folders that may ever have the name */
#define NS 2            /* slots; whoever evicts may take any that is empty */

#define FREE 0
#define NAMED 1
#define EVICTING 2
#define CONDEMNED 3
#define GONE 4
#define AWAY 5          /* moved elsewhere by its owner */

byte name = 1;          /* the folder under the name */
byte slot[NS];          /* the folder in each slot of evicting/ */
#if ONCE && EVICTORS > 1
byte times[NS];         /* how often it was filled: what its entry is called */
#define ENTRY(s) times[s]
#else
#define ENTRY(s) 0
#endif
byte loc[NI+1];
bool mark[NI+1];
bool partial[NI+1];
byte lease[NI+1];       /* lease files inside */
byte beside;            /* lease files beside the name */
byte sh[NI+1];          /* shared locks on the folder */
byte ex[NI+1];          /* the exclusive one: its evictor + 1 */
byte users[NI+1];       /* who works in it, and counts on it */

byte locked;            /* whose lease file says that it is locked */
byte alive = 255;       /* whose is: the kernel's word */
byte stale;             /* whose was not touched for its ttl */
byte over;              /* whose lease ended by parked_ttl: the one exception to the promise */
#ifdef REMOTE
byte view;              /* the folder that another host takes the name for */
byte unseen[NI+1];      /* lease files that this host does not see yet */
#endif

byte clients; byte done; byte stops; byte crashes; byte kills;

#define HOLDING(i) (((lease[i] & ~locked) | (lease[i] & locked & (DEAD -> alive : 255))) & ~stale)
#define BARE(i) (lease[i] & ~locked)

/* Nobody who may count on it is in it, and nobody comes by name. */
inline empty_out(i) { atomic { assert(!(users[i] & ~over)); assert(name != i); partial[i] = true } }

inline gets_name(i) {
  assert(!partial[i]);
  assert(!mark[i] || !LOCK);    /* our client could never use it */
  name = i; loc[i] = NAMED
}

/* mkdir -p: what is there, or a new one. */
inline make(i) {
  atomic {
    i = name;
    if
    :: i == 0 ->
       i = 1;
       do :: i <= NI && loc[i] != FREE -> i++ :: else -> break od;
       if :: i > NI -> i = 0 :: else -> gets_name(i) fi
    :: else
    fi
  }
}

inline take(i) { lease[i] = lease[i] | b; over = over & ~b }

inline begin_work(i) { atomic { users[i] = users[i] | b; assert(!partial[i] || (over & b)) } }

inline end_work(i) { users[i] = users[i] & ~b }

/* Another host's writes arrive, and it looks anew. */
#ifdef REMOTE
inline catch_up() { atomic { view = 0; for (h : 1 .. NI) { lease[h] = lease[h] | unseen[h]; unseen[h] = 0 }; h = 0 } }
#define LAG(settled) if :: catch_up() :: !(settled) fi
#else
#define LAG(settled) skip
#endif

#define IN_PLACE(i) ((!LINKS || loc[i] != GONE) && !(CMARK && mark[i]))

/*
 * Our client: locks the folder, sees that the path still names it, puts its file in place, sees again. It holds a
 * descriptor, so that it always finds its lease again. It may be killed; the kernel ends its locks then.
 */
#if defined(CAREFUL) || defined(CAREFUL2)
proctype Careful(byte me) {
  byte i; byte n; byte b = 1 << me; bool got;
#if LOCK
  locked = locked | b;
#endif
  do
  :: n < R ->
     n++;
     make(i);
     if
     :: i == 0
     :: else ->
#if LOCK
        atomic { got = (ex[i] == 0); if :: got -> sh[i] = sh[i] | b :: else fi };
#else
        got = true;
#endif
        if
        :: got && (!VERIFY1 || name == i) && IN_PLACE(i) ->
#if PUTLOCKED
           atomic { if :: loc[i] != GONE -> take(i) :: else fi };
#else
           atomic { alive = alive & ~b; if :: loc[i] != GONE -> take(i) :: else fi };
           alive = alive | b;
#endif
           if
           :: (lease[i] & b) && (!VERIFY2 || name == i) && IN_PLACE(i) ->
              begin_work(i);
#if LOCK
              assert(loc[i] == NAMED || loc[i] == AWAY || REPLACED);      /* it is not even moved */
#endif
              if
              :: end_work(i)
              :: kills < KILLS ->
                 atomic {
                   kills++; end_work(i); sh[i] = sh[i] & ~b;
#if LOCK
                   alive = alive & ~b;
#else
                   stale = stale | b;
#endif
                   goto dead
                 }
              fi
           :: else
           fi;
           lease[i] = lease[i] & ~b
        :: else
        fi;
        sh[i] = sh[i] & ~b
     fi
  :: else -> break
  od;
dead:
  done++
}
#endif

/* Our client with the folder itself mounted: no look at a path can fail. */
#ifdef MOUNTED
proctype Mounted(byte me) {
  byte i = 1; byte n; byte b = 1 << me; bool got;
#if LOCK
  locked = locked | b;
#endif
  do
  :: n < R ->
     n++;
#if LOCK
     atomic { got = (ex[i] == 0); if :: got -> sh[i] = sh[i] | b :: else fi };
#else
     got = true;
#endif
     if
     :: got && (!LINKS || loc[i] != GONE) && !(MMARK1 && mark[i]) ->
        atomic { if :: loc[i] != GONE -> take(i) :: else fi };
        if :: (lease[i] & b) && !(MMARK2 && mark[i]) -> begin_work(i); end_work(i) :: else fi;
        lease[i] = lease[i] & ~b
     :: else
     fi;
     sh[i] = sh[i] & ~b
  :: else -> break
  od;
  done++
}
#endif

/*
 * L=$(mktemp F/.lease.XXXXXX) && test -e $L; rm -f $L: all by path, to resolve it and to act being two steps.
 */
#if defined(SIMPLE) || defined(SIMPLE2)
proctype Simple(byte me) {
  byte i; byte j; byte n; byte b = 1 << (OWNFILE -> me : 2); bool ok;
  do
  :: n < R ->
     n++;
     make(i);
     i = name;
     atomic { if :: i && loc[i] != GONE -> take(i) :: else -> i = 0 fi };
     if
     :: i == 0
     :: else ->
#if CONFIRM
        atomic { j = name; ok = (j && (lease[j] & b)); if :: ok -> i = j :: else fi };
#else
        ok = true;
#endif
        if
        :: ok ->
           begin_work(i);
           end_work(i);
#if REMAKE
           atomic {
             make(j);
             if :: j && loc[i] != AWAY && !(over & b) -> users[j] = users[j] | b; assert(!partial[j]) :: else -> j = 0 fi
           };
           if :: j -> end_work(j) :: else fi
#endif
        :: else
        fi;
#if AGAIN
        atomic {
          name != 0 || loc[i] == CONDEMNED || loc[i] == GONE || !(lease[i] & b);
          j = name;
          if :: j -> lease[j] = lease[j] & ~b :: else fi
        }
#else
        j = name;
        if :: j -> lease[j] = lease[j] & ~b :: else fi
#endif
     fi
  :: else -> break
  od;
  done++
}
#endif

/* touch F.lease && mkdir -p F && test -d F; rm F.lease: the name is leased, whatever has it. */
#ifdef BESIDE
proctype Beside(byte me) {
  byte i; byte n; byte b = 1 << me;
  do
  :: n < R ->
     n++;
     beside = beside | b;
     make(i);
#if CONFIRM
     atomic { i = name; if :: i -> begin_work(i) :: else fi };
#else
     if :: i -> begin_work(i) :: else fi;
#endif
     if :: i -> end_work(i) :: else fi;
     beside = beside & ~b
  :: else -> break
  od;
  done++
}
#endif

/*
 * A simple client that touches its lease within its ttl. It may hang: then its lease is over, and it has to take
 * another, in a file of its own.
 */
#ifdef BEATING
proctype Beating(byte me) {
  byte i; byte j; byte n; byte b = 1 << me; bool ok;
  do
  :: n <= R ->
     n++;
     make(i);
     i = name;
     atomic { if :: i && loc[i] != GONE -> take(i) :: else -> i = 0 fi };
     if
     :: i == 0
     :: else ->
        atomic { j = name; ok = (j && (lease[j] & b)); if :: ok -> i = j :: else fi };
        if
        :: ok ->
           begin_work(i);
           if
           :: end_work(i)
           :: !(stale & b) && b == 1 << me ->
              atomic { end_work(i); stale = stale | b };
#if RENEW
              b = b << 1
#else
              atomic {
                j = name;
                if :: j && (lease[j] & b) -> stale = stale & ~b; i = j; begin_work(i) :: else -> i = 0 fi
              };
              if :: i -> end_work(i) :: else fi
#endif
           fi
        :: else
        fi;
        j = name;
        if :: j -> lease[j] = lease[j] & ~b :: else fi
     fi
  :: else -> break
  od;
  done++
}
#endif

/* flock -s F CMD: opens it by path and waits for the lock; CMD sees that the path names what is locked. */
#ifdef FLOCK
proctype Flock(byte me) {
  byte i; byte j; byte n; byte b = 1 << me; bool ok;
  do
  :: n < R ->
     n++;
     make(i);
     if
     :: i == 0
     :: else ->
        atomic { ex[i] == 0 -> sh[i] = sh[i] | b };
        atomic { j = name; ok = (COMPARE -> j == i : j != 0) };
        if :: ok -> begin_work(j); end_work(j) :: else fi;
        sh[i] = sh[i] & ~b
     fi
  :: else -> break
  od;
  done++
}
#endif

/*
 * A simple client of another host: what it resolved once it may take for true a while, its lease file may reach this
 * host late; after `settle` both are over.
 */
#ifdef REMOTE
proctype Remote(byte me) {
  byte i; byte j; byte n; byte b = 1 << me; bool ok;
  do
  :: n < R ->
     n++;
     if :: view == 0 -> atomic { make(i); view = i } :: view != 0 fi;
     atomic { i = view; if :: i && loc[i] != GONE -> unseen[i] = unseen[i] | b :: else -> i = 0; view = 0 fi };
     if
     :: i == 0
     :: else ->
#if CONFIRM
        atomic {
          if :: view != 0 :: view = name fi;
          j = view; ok = (j && ((unseen[j] | lease[j]) & b));
          if :: ok -> i = j :: else fi
        };
#else
        ok = true;
#endif
        if :: ok -> begin_work(i); end_work(i) :: else fi;
        atomic { j = name; if :: j -> lease[j] = lease[j] & ~b; unseen[j] = unseen[j] & ~b :: else fi }
     fi
  :: else -> break
  od;
  done++
}
#endif

/* Its owner moves the folder away, and makes a new one. */
#ifdef REPLACER
proctype Replacer() {
  byte i;
  atomic { i = name; if :: i -> name = 0; loc[i] = AWAY :: else fi };
  make(i);
  done++
}
#endif

/* The sidecar's other thread: judges the leases of the folder under the name, then removes those that hold it no longer. */
#ifdef REAPER
proctype Reaper() {
  byte i; byte n; byte judged;
  do
  :: n < R ->
     n++;
     atomic { i = name; if :: i -> judged = lease[i] & ~(HOLDING(i)) :: else -> judged = 0 fi };
     if
     :: judged -> atomic { assert(!(judged & users[i] & locked & alive)); lease[i] = lease[i] & ~judged }
     :: else
     fi
  :: else -> break
  od;
  done++
}
#endif

/* Steps of the evictor; i is what it opened, s its slot. */

inline unlock_all() { for (h : 1 .. NI) { if :: ex[h] == me + 1 -> ex[h] = 0 :: else fi }; h = 0 }

#define MAY_CRASH if :: crashes < CRASHES -> atomic { crashes++; unlock_all(); goto start } :: true fi

inline try_lock(j) {
#if LOCK
  atomic { got = (sh[j] == 0 && ex[j] == 0); if :: got -> ex[j] = me + 1 :: else fi }
#else
  got = true
#endif
}

inline unlock(j) { if :: ex[j] == me + 1 -> ex[j] = 0 :: else fi }

inline put_back(s) {
  atomic { if :: name == 0 && slot[s] && ENTRY(s) == e -> h = slot[s]; slot[s] = 0; gets_name(h); h = 0; got = true :: else -> got = false fi }
}

inline delete(i) {
  empty_out(i);
  MAY_CRASH;
  lease[i] = 0;
  MAY_CRASH;
  atomic { if :: lease[i] == 0 -> loc[i] = GONE :: else fi }
}

inline condemn_and_delete(s, i) {
#if MARK && MODES
  mark[i] = true;
  MAY_CRASH;
#endif
#if CONDEMN
  atomic { x = (ENTRY(s) == e -> slot[s] : 0); if :: x -> slot[s] = 0; loc[x] = CONDEMNED :: else fi };
  MAY_CRASH;
#else
  x = slot[s];
#endif
#if !HOLD
  unlock(i);
#endif
  if
  :: x == i -> delete(i); if :: slot[s] == i && loc[i] == GONE -> slot[s] = 0 :: else fi
  :: x == 0 -> mark[i] = false
  :: else         /* something else lies there: nothing is deleted */
  fi;
  x = 0
}

/* Leases in a parked folder, whose holder can't reach them, end by parked_ttl; in the end they do, before that they may. */
inline look_parked(i) {
  atomic {
    leased = (RLOOK && (HOLDING(i) || beside));
    if
    :: leased && EXPIRE && (quiet || EARLY) && !beside && !(lease[i] & locked & alive) ->
       if
       :: assert(name || REPLACED || EVICTORS > 1);     /* else it could go back */
          over = over | BARE(i); leased = false
       :: !quiet
       fi
    :: else
    fi
  }
}

inline recover() {
  s = 0;
  do
  :: atomic {
       do :: s < NS && slot[s] == 0 -> s++ :: else -> break od;
       if :: s < NS -> i = slot[s]; e = ENTRY(s) :: else -> break fi
     };
#if RLOCK
     try_lock(i);
#else
     got = true;
#endif
     if
     :: got && (!RSTILL || slot[s] == i) ->
#if UNMARK
        mark[i] = false;
        MAY_CRASH;
#endif
#if RBACK
        put_back(s);
#else
        got = false;
#endif
        if
        :: got
        :: else ->
           LAG(RSETTLE);
           look_parked(i);
           if :: leased :: else -> condemn_and_delete(s, i) fi
        fi
     :: else
     fi;
     unlock(i);
     MAY_CRASH;
     s++
  od;
  i = 1;
  do
  :: atomic {
       do :: i <= NI && loc[i] != CONDEMNED -> i++ :: else -> break od;
       if :: i > NI -> break :: else fi
     };
#if DLOCK
     try_lock(i);
#else
     got = true;
#endif
     if :: got -> delete(i); unlock(i) :: else fi;
     i++
  od;
  i = 0
}

inline evict() {
  i = name;
  if
  :: i == 0
  :: else ->
     try_lock(i);
#if STILL
     if :: name != i -> got = false :: else fi;
#endif
     MAY_CRASH;
     leased = false;
#if LOOK1
     LAG(0);
     leased = (HOLDING(i) || beside);
#endif
#if PARKNAME
     atomic { for (h : 0 .. NS - 1) { if :: slot[h] -> leased = true :: else fi }; h = 0 };
#endif
     atomic { s = 0; do :: s < NS && slot[s] -> s++ :: else -> break od };
     if
     :: got && !leased && s < NS ->
        /* rename moves whatever has the name, never over anything */
        atomic {
          h = name; got = (h && slot[s] == 0);
          if
          :: got ->
             name = 0; slot[s] = h; loc[h] = EVICTING;
#if ONCE && EVICTORS > 1
             times[s] = times[s] + 1;
#endif
             e = ENTRY(s)
          :: else
          fi;
          h = 0
        };
        MAY_CRASH;
        if
        :: !got
#if SAME
        :: got && slot[s] != i -> put_back(s)
        :: got && slot[s] == i ->
#else
        :: got ->
#endif
           LAG(SETTLE);
           leased = (LOOK2 && (HOLDING(i) || beside));
           if :: leased -> put_back(s) :: else -> condemn_and_delete(s, i) fi
        fi
     :: else
     fi;
     MAY_CRASH;
     atomic { unlock_all(); i = 0; s = 0; got = false; leased = false }
  fi
}

#define MAY_GO_BACK (name == 0 && (slot[0] || slot[1]))

/* Quiet once all clients are through; of two evictors the last one sees whether anything stays behind for ever. */
proctype Evictor(byte me) {
  byte tries; bool quiet; byte rounds;
  byte i; byte s; byte x; byte h; byte e; bool got; bool leased;
start:
  atomic { i = 0; s = 0; x = 0; h = 0; got = false; leased = false; rounds = 0 };
  do
  :: rounds < 3 ->
     recover();
     if
     :: tries < E -> tries++; evict()
     :: tries >= E && !quiet ->
        atomic {
          done == clients || MAY_GO_BACK;
          if :: done == clients -> quiet = true; stops++; if :: stops < EVICTORS -> goto stop :: else fi :: else fi
        }
     :: quiet -> rounds++; evict()
     fi
  :: else -> break
  od;
  assert(!slot[0] && !slot[1]);
  for (h : 1 .. NI) {
    assert(loc[h] == FREE || loc[h] == GONE || loc[h] == AWAY || (loc[h] == NAMED && HOLDING(h) && !STRICT))
  }
stop:
  skip
}

init {
  atomic {
    loc[1] = NAMED;
#ifdef CAREFUL
    run Careful(0); clients++;
#endif
#ifdef CAREFUL2
    run Careful(1); clients++;
#endif
#ifdef SIMPLE
    run Simple(2); clients++;
#endif
#ifdef SIMPLE2
    run Simple(3); clients++;
#endif
#ifdef MOUNTED
    run Mounted(4); clients++;
#endif
#ifdef BEATING
    run Beating(5); clients++;
#endif
#ifdef FLOCK
    run Flock(5); clients++;
#endif
#ifdef BESIDE
    run Beside(6); clients++;
#endif
#ifdef REMOTE
    run Remote(7); clients++;
#endif
#ifdef REPLACER
    run Replacer(); clients++;
#endif
#ifdef REAPER
    run Reaper(); clients++;
#endif
    run Evictor(0);
#ifdef TWOEV
    run Evictor(1);
#endif
  }
}
