# Shared by the scripts in dev/. Sourced, never run; defines settings and
# functions, starts nothing.
# shellcheck shell=bash disable=SC2034
set -euo pipefail

DEV_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

STATE=$(realpath -m -- "${RAILYARD_DEV_STATE:-/var/tmp/railyard-dev}")
REGISTRY=${RAILYARD_DEV_REGISTRY:-127.0.0.1:5000}
# These three stay what they were when the state directory was made, unless given.
FILES_PORT=8099
BRIDGE=ryd                             # bridges are called ${BRIDGE}0 and ${BRIDGE}1
NET=10.213                             # first two octets of the containers' addresses
if [ -f "$STATE/settings" ]; then
  read -r FILES_PORT BRIDGE NET <"$STATE/settings" || true
fi
FILES_PORT=${RAILYARD_DEV_FILES_PORT:-${FILES_PORT:-8099}}
BRIDGE=${RAILYARD_DEV_BRIDGE:-${BRIDGE:-ryd}}
NET=${RAILYARD_DEV_NET:-${NET:-10.213}}

# One short name per state directory: marks cgroups, bridges and firewall rules.
ID=$(printf '%s' "$STATE" | cksum | awk '{printf "%08x", $1}')
BIN=$STATE/bin
PKGS=$STATE/pkgs
LOGS=$STATE/log
LAYERS=$STATE/layers
LOCK=$STATE.lock                       # beside the state, so that --purge leaves it
DOCKER_CONFIG_DIR=$STATE/docker-config
REG_DIR=$STATE/registry-${REGISTRY//[^0-9A-Za-z.]/_}
ENGINES=(debian current)
RUNTIMES=(nodejs18.x nodejs20.x nodejs22.x python3.11 java17 ruby3.2)

# The system's interpreter where there is one: wrappers of version managers are slow.
PY=python3
[ -x /usr/bin/python3 ] && PY=/usr/bin/python3

log() { printf '%s railyard-dev: %s\n' "$(date +%T)" "$*" >&2; }
warn() { log "warning: $*"; }
die() { log "error: $*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

need_root() { [ "$(id -u)" = 0 ] || die "must run as root"; }

check_settings() {
  [[ $STATE =~ ^/[A-Za-z0-9._/-]+$ ]] || die "RAILYARD_DEV_STATE: '$STATE' holds characters that are not supported"
  [ "$STATE" != / ] || die "RAILYARD_DEV_STATE must not be the root directory"
  # socket paths end at 108 bytes, and containerd adds its own directories
  [ ${#STATE} -le 50 ] || die "RAILYARD_DEV_STATE: '$STATE' is too long (50 characters at most)"
  [[ $REGISTRY =~ ^[A-Za-z0-9.-]+:[0-9]+$ ]] || die "RAILYARD_DEV_REGISTRY: '$REGISTRY' is not host:port"
  [[ $FILES_PORT =~ ^[0-9]+$ ]] || die "RAILYARD_DEV_FILES_PORT: '$FILES_PORT' is not a port"
  [[ $NET =~ ^[0-9]+\.[0-9]+$ ]] || die "RAILYARD_DEV_NET: '$NET' is not two octets such as 10.213"
  [[ $BRIDGE =~ ^[a-z][a-z0-9-]{0,11}$ ]] || die "RAILYARD_DEV_BRIDGE: '$BRIDGE' is not an interface name prefix"
}

# ---- lock ------------------------------------------------------------------
# Everything that changes the state holds this lock; the daemons never do.
take_lock() {
  mkdir -p "$(dirname "$LOCK")"
  exec 9>>"$LOCK"
  if ! flock -n 9; then
    log "waiting for another run on $STATE"
    flock -w "${RAILYARD_DEV_LOCK_WAIT:-1800}" 9 || die "another run still holds $LOCK"
  fi
}

# ---- processes -------------------------------------------------------------
# A daemon is known by an argument that no other program has (its marker) and
# by its executable's name. Its pid file holds "PID STARTTIME"; where that is
# missing, damaged or stale, the process table is searched for the marker.
start_time() { # pid -> ticks since boot at which it started
  local s
  { s=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  s=${s##*) }                          # the name may hold blanks and brackets
  # shellcheck disable=SC2086
  set -- $s
  [ "$1" != Z ] || return 1
  echo "${20}"
}

is_daemon() { # pid name marker
  local exe
  [[ $1 =~ ^[0-9]+$ ]] || return 1
  grep -qzFx -- "$3" "/proc/$1/cmdline" 2>/dev/null || return 1
  exe=$(readlink "/proc/$1/exe" 2>/dev/null) || return 1
  exe=${exe##*/}
  [[ ${exe% (deleted)} == $2* ]]
}

find_daemon() { # pidfile name marker -> pid
  local pid='' start='' rest='' p
  [ -f "$1" ] && { read -r pid start rest <"$1" 2>/dev/null || true; }
  if [[ $pid =~ ^[0-9]+$ && $start =~ ^[0-9]+$ && -z $rest ]] &&
    [ "$(start_time "$pid")" = "$start" ] && is_daemon "$pid" "$2" "$3"; then
    echo "$pid"
    return 0
  fi
  for p in $(grep -lzFx -- "$3" /proc/[0-9]*/cmdline 2>/dev/null || true); do
    p=${p#/proc/}; p=${p%/cmdline}
    if is_daemon "$p" "$2" "$3" && start=$(start_time "$p"); then
      [ -w "$(dirname "$1")" ] && echo "$p $start" >"$1"
      echo "$p"
      return 0
    fi
  done
  return 1
}

# Starts a daemon that outlives this script and holds nothing of its caller:
# own session, no inherited descriptors, / as its directory.
spawn() { # pidfile log command...
  local pidfile=$1 logfile=$2 pid start
  shift 2
  mkdir -p "$(dirname "$logfile")"
  [ -f "$logfile" ] && [ "$(stat -c %s "$logfile")" -gt 20000000 ] && mv -f "$logfile" "$logfile.1"
  (
    for fd in /proc/"$BASHPID"/fd/*; do
      fd=${fd##*/}
      [ "$fd" -gt 2 ] && [ "$fd" -ne 255 ] && eval "exec $fd>&-"
    done
    cd /
    umask 022
    ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
    exec setsid nohup "$@" </dev/null >>"$logfile" 2>&1
  ) &
  pid=$!
  disown "$pid" 2>/dev/null || true
  start=$(start_time "$pid") || die "$1 ended at once, see $logfile"
  echo "$pid $start" >"$pidfile.tmp"
  mv -f "$pidfile.tmp" "$pidfile"
}

signal_same() { # signal pid starttime: only while the pid is still that process
  [ "$(start_time "$2")" = "$3" ] && kill "-$1" "$2" 2>/dev/null
}

end_process() { # pid [seconds]: TERM, then KILL
  local pid=$1 start n=$((${2:-15} * 10))
  start=$(start_time "$pid") || return 0
  signal_same TERM "$pid" "$start" || return 0
  signal_same CONT "$pid" "$start" || true
  while [ "$n" -gt 0 ]; do
    [ "$(start_time "$pid")" = "$start" ] || return 0
    sleep 0.1
    n=$((n - 1))
  done
  signal_same KILL "$pid" "$start" || return 0
  for n in {1..50}; do
    [ "$(start_time "$pid")" = "$start" ] || return 0
    sleep 0.1
  done
  die "process $pid does not end"
}

# Programs that make parts of the state carry a mark in their environment: what
# bears it when nobody else holds the lock was left by a killed run.
marked() { env RAILYARD_DEV_BUILD="$STATE" "$@" 9>&-; }
reap_marked() {
  local p start left try
  for try in {1..50}; do
    left=0
    for p in $(grep -lzFx -- "RAILYARD_DEV_BUILD=$STATE" /proc/[0-9]*/environ 2>/dev/null || true); do
      p=${p#/proc/}; p=${p%/environ}
      [ "$p" != $$ ] || continue
      start=$(start_time "$p") || continue
      signal_same KILL "$p" "$start" || continue
      left=1
    done
    if [ "$left" = 0 ]; then return 0; fi
    [ "$try" -gt 1 ] || log "ending what an interrupted run left"
    sleep 0.1
  done
}

wait_for() { # seconds command...
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

# ---- files -----------------------------------------------------------------
# Removes a tree that a killed run may have left mounts in; never crosses into
# another file system.
unmount_below() { # directory
  local m
  while read -r m; do
    umount -l -- "$m" 2>/dev/null || true
  done < <(awk -v d="$1" '$5 == d || index($5, d "/") == 1 {print $5}' /proc/self/mountinfo | tac)
}
remove_tree() { # directory...
  local d
  for d; do
    [ -e "$d" ] || [ -L "$d" ] || continue
    case $d in "$STATE"/?* | "$STATE") ;; *) die "refusing to remove $d" ;; esac
    unmount_below "$d"
    rm -rf --one-file-system -- "$d"
  done
}

# ---- engines ---------------------------------------------------------------
engine_number() { case $1 in debian) echo 0 ;; current) echo 1 ;; *) die "no such engine: $1" ;; esac }
engine_dir() { echo "$STATE/engine-$1"; }
engine_socket() { echo "$STATE/engine-$1/docker.sock"; }
engine_bridge() { echo "$BRIDGE$(engine_number "$1")"; }
engine_ip() { echo "$NET.$(engine_number "$1").1"; }
engine_cgroup() { echo "ryd-$ID-$1"; }
engine_pid() { find_daemon "$(engine_dir "$1")/pid" dockerd "--pidfile=$(engine_dir "$1")/docker.pid"; }
engine_containerd_pid() {
  find_daemon "$(engine_dir "$1")/containerd.pid" containerd "$(engine_dir "$1")/exec/containerd/containerd.toml"
}
# dockerd reports its containerd only while it is connected to it
engine_healthy() {
  curl -fsS -m 5 --unix-socket "$(engine_socket "$1")" http://localhost/version 2>/dev/null | grep -q '"Name":"containerd"'
}
engine_up() { engine_pid "$1" >/dev/null && socket_answers "$(engine_socket "$1")"; }
socket_answers() { # path
  [ -S "$1" ] && curl -fsS -m 5 --unix-socket "$1" http://localhost/_ping >/dev/null 2>&1
}
host_answers() { # DOCKER_HOST value
  case $1 in
    unix://*) socket_answers "${1#unix://}" ;;
    tcp://*) curl -fsS -m 5 "http://${1#tcp://}/_ping" >/dev/null 2>&1 ;;
    *) return 1 ;;
  esac
}
# The engine that was there before us, if any: what $DOCKER_HOST or the default
# socket names, unless that is one of ours.
given_engine() { # -> DOCKER_HOST value
  local h=${DOCKER_HOST:-unix:///var/run/docker.sock} e
  for e in "${ENGINES[@]}"; do
    if [ "$h" = "unix://$(engine_socket "$e")" ]; then h=unix:///var/run/docker.sock; fi
  done
  host_answers "$h" && echo "$h"
}
engine_version() { # DOCKER_HOST value -> version
  case $1 in
    unix://*) curl -fsS -m 5 --unix-socket "${1#unix://}" http://localhost/version ;;
    tcp://*) curl -fsS -m 5 "http://${1#tcp://}/version" ;;
  esac 2>/dev/null | "$PY" -c 'import json,sys; print(json.load(sys.stdin)["Version"])' 2>/dev/null || echo '?'
}

# ---- registry and file server ----------------------------------------------
registry_answers() { # any server that speaks the registry protocol, with or without sign-in
  curl -s -m 5 -o /dev/null -D - "http://$REGISTRY/v2/" 2>/dev/null |
    grep -qi '^docker-distribution-api-version:' ||
    [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' "http://$REGISTRY/v2/" 2>/dev/null)" = 200 ]
}
registry_pid() { find_daemon "$REG_DIR/pid" docker-registry "$REG_DIR/config.yml"; }
files_pid() { find_daemon "$STATE/files.pid" python "--owner=$STATE"; }
files_answer() { # address
  [ "$(curl -fsS -m 5 "http://$1:$FILES_PORT/.railyard-dev" 2>/dev/null)" = ok ]
}
images() { "$PY" "$DEV_DIR/images.py" --layers "$LAYERS" --registry "$REGISTRY" "$@"; }
