# Packages: what must be installed, and what is only unpacked. Sourced by up.
# shellcheck shell=bash

debian_mirror() { # the first archive that apt itself uses
  local uri
  uri=$(cat /etc/apt/sources.list.d/*.sources 2>/dev/null |
    awk 'tolower($1) == "uris:" && $2 !~ /security/ {print $2; exit}')
  [ -n "$uri" ] || uri=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
    sed -E 's/\[[^]]*\]//' | awk '$1 == "deb" && $2 !~ /security/ {print $2; exit}')
  uri=${RAILYARD_DEV_MIRROR:-$uri}
  [ -n "$uri" ] || die "no Debian archive found in apt's sources; set RAILYARD_DEV_MIRROR"
  echo "${uri%/}"
}
debian_keyring() {
  local k=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -f "$k" ] || die "$k is missing"
  echo "$k"
}

# Plain tools are installed; none of them starts a service.
install_tools() {
  local need=() l
  have iptables || need+=(iptables)
  have ip || need+=(iproute2)
  have curl || need+=(curl)
  have wget || need+=(wget)
  have xz || need+=(xz-utils)
  have gpgv || need+=(gpgv)
  have python3 || need+=(python3)
  have flock || need+=(util-linux)
  have npm || need+=(npm)
  [ -e /etc/ssl/certs/ca-certificates.crt ] || need+=(ca-certificates)
  [ -f /usr/share/keyrings/debian-archive-keyring.gpg ] || need+=(debian-archive-keyring)
  for l in libdevmapper1.02.1 libseccomp2 libsystemd0; do
    dpkg-query -W -f '${db:Status-Status}' "$l" 2>/dev/null | grep -qx installed || need+=("$l")
  done
  [ ${#need[@]} -gt 0 ] || return 0
  log "installing ${need[*]}"
  {
    # (another apt may hold the lists for a moment)
    { wait_for 60 apt-get -q -o Acquire::Retries=3 update || apt-get -q update; } &&
      DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 \
        install -y --no-install-recommends "${need[@]}"
  } >>"$LOGS/apt.log" 2>&1 9>&- || die "apt-get failed, see $LOGS/apt.log"
}

# apt with lists of its own for one suite, whatever this machine's suite is.
suite_apt() { # suite apt-arguments...
  local suite=$1 a=$PKGS/apt-$1
  shift
  mkdir -p "$a/lists/partial" "$a/cache/archives/partial"
  echo "deb [signed-by=$(debian_keyring)] $(debian_mirror) $suite main" >"$a/sources"
  marked apt-get -q -o Dir::Etc::sourcelist="$a/sources" -o Dir::Etc::sourceparts=- \
    -o Dir::State::lists="$a/lists" -o Dir::Cache="$a/cache" -o Dir::State::status=/dev/null \
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
    -o Acquire::Retries=3 -o APT::Sandbox::User=root "$@"
}

# Downloads packages (apt checks the signatures) and unpacks them into
# $PKGS/NAME; nothing is configured, no service starts.
unpack_packages() { # suite name package...
  local suite=$1 dest=$PKGS/$2 part=$PKGS/$2.part d
  shift 2
  [ "$(cat "$dest/.packages" 2>/dev/null)" = "$suite $*" ] && return 0
  log "fetching from Debian $suite: $*"
  remove_tree "$part" "$dest"
  mkdir -p "$part/debs"
  {
    suite_apt "$suite" update &&
      (exec 9>&-; cd "$part/debs" && suite_apt "$suite" download "$@")
  } >>"$LOGS/apt.log" 2>&1 || die "cannot fetch packages of $suite, see $LOGS/apt.log"
  for d in "$part"/debs/*.deb; do
    marked dpkg -x "$d" "$part" || die "cannot unpack $d"
  done
  rm -rf "$part/debs"
  echo "$suite $*" >"$part/.packages"
  mv "$part" "$dest"
}

fetch_programs() { # [current]: with it, the newer engine as well
  unpack_packages bookworm bookworm docker.io containerd runc tini docker-registry debootstrap \
    skopeo libgpgme11 libassuan0 libgpg-error0
  if [ "${1:-}" = current ]; then
    unpack_packages sid sid docker.io docker-cli docker-buildx containerd crane
  elif [ ! -f "$PKGS/sid/.packages" ]; then
    unpack_packages sid crane crane
  fi
  link_programs
}

link_program() { # target name
  [ "$(readlink "$BIN/$2" 2>/dev/null)" = "$1" ] || ln -sfn "$1" "$BIN/$2"
}
write_program() { # name, text on standard input
  local t
  t=$(mktemp "$BIN/.new.XXXXXX")
  cat >"$t"
  chmod 755 "$t"
  if cmp -s "$t" "$BIN/$1"; then rm -f "$t"; else mv -f "$t" "$BIN/$1"; fi
}

link_programs() {
  local b=$PKGS/bookworm s=$PKGS/sid
  mkdir -p "$BIN" "$DOCKER_CONFIG_DIR/cli-plugins"
  [ -f "$DOCKER_CONFIG_DIR/config.json" ] || echo '{}' >"$DOCKER_CONFIG_DIR/config.json"
  link_program "$b/usr/bin/docker-registry" docker-registry
  link_program "$b/usr/bin/docker" docker-20.10
  if [ -f "$s/.packages" ]; then
    link_program "$s/usr/bin/crane" crane
    link_program "$s/usr/bin/docker" docker       # the newer client talks to both engines
    ln -sfn "$s/usr/libexec/docker/cli-plugins/docker-buildx" "$DOCKER_CONFIG_DIR/cli-plugins/docker-buildx"
  else
    link_program "$PKGS/crane/usr/bin/crane" crane
    link_program "$b/usr/bin/docker" docker
    rm -f "$DOCKER_CONFIG_DIR/cli-plugins/docker-buildx"
  fi
  mkdir -p "$STATE/containers/registries.d"
  echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$STATE/containers/policy.json"
  printf '[[registry]]\nlocation = "%s"\ninsecure = true\n' "$REGISTRY" >"$STATE/containers/registries.conf"
  write_program skopeo <<SH
#!/bin/sh
export LD_LIBRARY_PATH="$b/usr/lib/x86_64-linux-gnu\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
exec "$b/usr/bin/skopeo" --policy "$STATE/containers/policy.json" --registries.d "$STATE/containers/registries.d" \\
  --registries-conf "$STATE/containers/registries.conf" "\$@"
SH
}
