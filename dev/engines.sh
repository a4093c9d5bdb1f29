# Bridges, firewall rules, control groups and engines. Sourced by up and down.
# shellcheck shell=bash

RULE_MARK=(-m comment --comment "railyard-dev-$ID")
RULES=(
  "nat POSTROUTING -s $NET.0.0/16 ! -d $NET.0.0/16 -j MASQUERADE"
  "filter FORWARD -s $NET.0.0/16 -j ACCEPT"
  "filter FORWARD -d $NET.0.0/16 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
  "filter INPUT -s $NET.0.0/16 -j ACCEPT"
)
rules_up() {
  local r table rest
  for r in "${RULES[@]}"; do
    read -r table rest <<<"$r"
    # shellcheck disable=SC2086
    iptables -w 20 -t "$table" -C ${rest% -j *} "${RULE_MARK[@]}" -j "${rest##* }" 2>/dev/null ||
      iptables -w 20 -t "$table" -I ${rest% -j *} "${RULE_MARK[@]}" -j "${rest##* }" ||
      die "cannot add a firewall rule to $table"
  done
}
rules_down() {
  local r table rest
  have iptables || return 0
  for r in "${RULES[@]}"; do
    read -r table rest <<<"$r"
    # shellcheck disable=SC2086
    while iptables -w 20 -t "$table" -D ${rest% -j *} "${RULE_MARK[@]}" -j "${rest##* }" 2>/dev/null; do :; done
  done
}
rules_present() {
  local r table rest
  for r in "${RULES[@]}"; do
    read -r table rest <<<"$r"
    # shellcheck disable=SC2086
    iptables -w 20 -t "$table" -C ${rest% -j *} "${RULE_MARK[@]}" -j "${rest##* }" 2>/dev/null || return 1
  done
}

uplink_mtu() {
  local dev mtu
  dev=$(ip -o -4 route show default | awk '{for (i = 1; i < NF; i++) if ($i == "dev") {print $(i + 1); exit}}')
  mtu=$(cat "/sys/class/net/${dev:-none}/mtu" 2>/dev/null || echo 1500)
  echo $((mtu < 1500 ? mtu : 1500))
}

# Our bridges carry the state directory's mark as their alias.
bridge_up() { # engine
  local b ip other
  b=$(engine_bridge "$1") ip=$(engine_ip "$1")
  other=$(ip -o -4 addr show | awk -v n="${ip%.*}." -v b="$b" 'index($4, n) == 1 && $2 != b {print $2; exit}')
  [ -z "$other" ] || die "addresses ${ip%.*}.0/24 are in use on $other; set RAILYARD_DEV_NET (two octets)"
  if [ -e "/sys/class/net/$b" ]; then
    case $(cat "/sys/class/net/$b/ifalias") in
      "railyard-dev-$ID") ;;
      '') # made by a run that was killed before it could mark it
        if [ ! -d "/sys/class/net/$b/bridge" ] || ip -o -4 addr show dev "$b" | grep -qv " $ip/"; then
          die "interface $b is not ours; set RAILYARD_DEV_BRIDGE and RAILYARD_DEV_NET"
        fi ;;
      *) die "bridge $b belongs to another state directory; set RAILYARD_DEV_BRIDGE and RAILYARD_DEV_NET" ;;
    esac
  else
    ip link add "$b" type bridge
  fi
  ip link set dev "$b" alias "railyard-dev-$ID"
  ip -o -4 addr show dev "$b" | grep -q " $ip/24 " || ip addr add "$ip/24" dev "$b"
  ip link set dev "$b" mtu "$(uplink_mtu)" up
  [ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ] || echo 1 >/proc/sys/net/ipv4/ip_forward
}
bridge_down() { # engine
  local b
  b=$(engine_bridge "$1")
  [ "$(cat "/sys/class/net/$b/ifalias" 2>/dev/null)" = "railyard-dev-$ID" ] || return 0
  ip link del "$b" 2>/dev/null || true
}

# Container managers expect the hierarchies mounted; bare machines without an
# init system may lack them.
cgroups_up() {
  local c
  mountpoint -q /sys/fs/cgroup || {
    log "mounting the control groups"
    if ! mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null ||
      ! grep -qw memory /sys/fs/cgroup/cgroup.controllers; then
      mountpoint -q /sys/fs/cgroup && umount /sys/fs/cgroup
      mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
    fi
  }
  [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] && return 0
  for c in $(awk '!/^#/ && $4 == 1 {print $1}' /proc/cgroups); do
    awk -v c="$c" '$3 == "cgroup" && ("," $4 ",") ~ ("," c ",") {f = 1} END {exit !f}' /proc/mounts && continue
    mkdir -p "/sys/fs/cgroup/$c"
    mount -t cgroup -o "$c" cgroup "/sys/fs/cgroup/$c" 2>/dev/null || rmdir "/sys/fs/cgroup/$c" 2>/dev/null || true
  done
  for c in cpu memory devices freezer pids; do
    awk -v c="$c" '$3 == "cgroup" && ("," $4 ",") ~ ("," c ",") {f = 1} END {exit !f}' /proc/mounts ||
      warn "control group controller '$c' is missing, limits on it will not work"
  done
}
# Ends whatever an engine left running in its own control group, then removes it.
cgroup_sweep() { # engine
  local name pid start
  name=$(engine_cgroup "$1")
  for _ in {1..30}; do
    local left=0
    while read -r pid; do
      start=$(start_time "$pid") || continue
      grep -qF -- "/$name/" "/proc/$pid/cgroup" 2>/dev/null || continue
      signal_same KILL "$pid" "$start" || true
      left=1
    done < <(find /sys/fs/cgroup -path "*/$name/*" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -un)
    [ "$left" = 1 ] || break
    sleep 0.1
  done
  # (directories come and go by themselves while this looks)
  find /sys/fs/cgroup -depth -type d \( -name "$name" -o -path "*/$name/*" \) -exec rmdir {} + 2>/dev/null || true
}

# After a dockerd has gone, by whatever death: its containerd, the containers,
# mounts, sockets and pid files it left.
engine_sweep() { # engine
  local d pid
  d=$(engine_dir "$1")
  [ -d "$d" ] || return 0
  if pid=$(engine_containerd_pid "$1"); then
    log "ending the containerd that engine $1 left"
    end_process "$pid" 5
  fi
  cgroup_sweep "$1"
  for pid in $(grep -lzFx -- "$d/exec/containerd/containerd.sock" /proc/[0-9]*/cmdline 2>/dev/null || true); do
    pid=${pid#/proc/}; pid=${pid%/cmdline}
    is_daemon "$pid" containerd-shim "$d/exec/containerd/containerd.sock" && end_process "$pid" 1
  done
  unmount_below "$d"
  remove_tree "$d/exec"
  rm -f "$d/docker.sock" "$d/docker.pid" "$d/pid" "$d/pid.tmp" "$d/containerd.pid"
}

engine_prepare() { # engine
  local d root
  d=$(engine_dir "$1")
  root=$PKGS/$([ "$1" = current ] && echo sid || echo bookworm)
  mkdir -p "$d/bin" "$d/data"
  chmod 711 "$d"
  # runc is Debian 12's for both: a newer suite's wants a newer C library
  cat >"$d/bin/runc.part" <<SH
#!/bin/sh
# Writes a line per container started where runc-log names a file, then the real one.
if [ -s "$STATE/runc-log" ]; then
  for a; do
    case \$a in
      run | create) read -r f <"$STATE/runc-log" && echo "\$(date +%s.%N) $1 \$a" >>"\$f"; break ;;
    esac
  done
fi
exec "$PKGS/bookworm/usr/sbin/runc" "\$@"
SH
  chmod 755 "$d/bin/runc.part"
  mv -f "$d/bin/runc.part" "$d/bin/runc"
  ln -sfn "$PKGS/bookworm/usr/bin/tini-static" "$d/bin/docker-init"
  ln -sfn "$root/usr/sbin/docker-proxy" "$d/bin/docker-proxy"
  local pool=$NET.64.0/18 features='"buildkit": true'
  [ "$1" = current ] && pool=$NET.128.0/18 features='"containerd-snapshotter": false'
  cat >"$d/daemon.json" <<JSON
{
  "features": {$features},
  "default-address-pools": [{"base": "$pool", "size": 24}],
  "log-driver": "json-file",
  "log-opts": {"max-size": "10m", "max-file": "2"},
  "shutdown-timeout": 5
}
JSON
}

engine_start() { # debian|current
  local name=$1 d root pid sock
  d=$(engine_dir "$name") sock=$(engine_socket "$name")
  root=$PKGS/$([ "$name" = current ] && echo sid || echo bookworm)
  bridge_up "$name"
  rules_up
  if pid=$(engine_pid "$name"); then
    # a running dockerd brings its containerd back by itself
    if wait_for "$([ -S "$sock" ] && echo 20 || echo 2)" socket_answers "$sock" &&
      wait_for 30 engine_healthy "$name"; then
      return 0
    fi
    log "engine $name (pid $pid) does not answer, starting it anew"
    end_process "$pid" 10
  fi
  engine_sweep "$name"
  cgroups_up
  engine_prepare "$name"
  log "starting engine $name"
  spawn "$d/pid" "$LOGS/engine-$name.log" \
    env PATH="$d/bin:$root/usr/sbin:$root/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
    "$root/usr/sbin/dockerd" --config-file "$d/daemon.json" --data-root "$d/data" --exec-root "$d/exec" \
    "--pidfile=$d/docker.pid" -H "unix://$sock" -G root --exec-opt native.cgroupdriver=cgroupfs \
    --cgroup-parent "/$(engine_cgroup "$name")" --bridge "$(engine_bridge "$name")" --mtu "$(uplink_mtu)" \
    --iptables=false --ip6tables=false --ip-masq=false --userland-proxy-path "$d/bin/docker-proxy"
  wait_for 60 engine_healthy "$name" || {
    tail -5 "$LOGS/engine-$name.log" >&2
    die "engine $name does not answer, see $LOGS/engine-$name.log"
  }
  engine_pid "$name" >/dev/null || die "engine $name has ended, see $LOGS/engine-$name.log"
}

engine_stop() { # engine
  local pid
  if pid=$(engine_pid "$1"); then
    log "stopping engine $1"
    end_process "$pid" 30
  fi
  engine_sweep "$1"
  bridge_down "$1"
}
