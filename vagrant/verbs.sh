# shellcheck shell=bash
# `./dev vagrant`: sourced by it, with its say, die, need, image. Everything that is made is below target/vagrant, in libvirt's pool
# `default` under names that begin with mesh-lab-, and in the machines and networks that the Vagrantfile names.

VAGRANT_FOLDER=target/vagrant
# shellcheck source=vagrant/versions
. vagrant/versions
export VAGRANT_CWD=$PWD/vagrant VAGRANT_DOTFILE_PATH=$PWD/$VAGRANT_FOLDER/state VAGRANT_CHECKPOINT_DISABLE=1 VAGRANT_DEFAULT_PROVIDER=libvirt

talos_nodes() { sed -n "/^TALOS = {/,/^}/s/^  '\([a-z0-9-]*\)'.*/\1/p" vagrant/Vagrantfile; }

# Docker or podman: what Talos' imager and talosctl come in.
containers() {
  command -v docker || command -v podman || die "a container runtime is needed once, for Talos' imager: install docker or podman"
}

# The plugin of the distribution, so that nothing is fetched from elsewhere.
need_vagrant() {
  need vagrant:vagrant
  vagrant plugin list 2>/dev/null | grep -q '^vagrant-libvirt ' || install_packages vagrant-libvirt
}

vagrant_validate() {
  need_vagrant
  need shellcheck:shellcheck
  vagrant validate
  shellcheck -x vagrant/network.sh vagrant/verbs.sh
  say "the Vagrantfile is valid, and shellcheck has nothing to say; what Talos says of the machine configs: ./dev conformance"
}

# The disk: Talos and the extension, by Talos' imager. It pulls its own images from ghcr.io, ours it is given as a folder.
vagrant_image() {
  local runtime disk=$VAGRANT_FOLDER/disk/metal-amd64.qcow2
  runtime=$(containers)
  mkdir -p target/image "$VAGRANT_FOLDER/disk"
  only_for amd64
  image target/image
  say "making the disk by Talos' imager $TALOS_VERSION"
  sed "s/TALOS_VERSION/$TALOS_VERSION/" vagrant/imager.yaml |
    "$runtime" run --rm -i -v "$PWD/target/image/out/talos-mesh:/extension:ro" -v "$PWD/$VAGRANT_FOLDER/disk:/out" \
      "ghcr.io/siderolabs/imager:$TALOS_VERSION" -
  [ -s "$disk" ] || die "the imager left no $disk: $(ls "$VAGRANT_FOLDER/disk")"
}

# talosctl of the same version, and mesh-probe as a static program: both run on the routers.
vagrant_programs() {
  local runtime id
  runtime=$(containers)
  mkdir -p "$VAGRANT_FOLDER/bin"
  if [ ! -x "$VAGRANT_FOLDER/bin/talosctl" ]; then
    id=$("$runtime" create "ghcr.io/siderolabs/talosctl:$TALOS_VERSION")
    "$runtime" cp "$id:/talosctl" "$VAGRANT_FOLDER/bin/talosctl"
    "$runtime" rm "$id" >/dev/null
  fi
  IMAGE_PROGRAMS=mesh-probe image_programs amd64 target/image
  cp target/image/amd64/mesh-probe "$VAGRANT_FOLDER/bin/mesh-probe"
}

# role NODE: as talosctl names it.
role() { case $1 in *worker) echo worker ;; *) echo controlplane ;; esac; }

# Secrets once, and from them the config of each node. Nobody but this user may read them.
vagrant_configs() (
  umask 077
  local folder=$VAGRANT_FOLDER/configs node key patches talosctl=$VAGRANT_FOLDER/bin/talosctl
  need genisoimage:genisoimage
  mkdir -p "$folder"
  [ -s "$folder/secrets.yaml" ] || "$talosctl" gen secrets --talos-version "$TALOS_VERSION" -o "$folder/secrets.yaml"
  key=$(sed -n '/^cluster:/,/^[^ ]/s/^ *secret: *//p' "$folder/secrets.yaml")
  [ -n "$key" ] || die "$folder/secrets.yaml has no cluster.secret"
  # By a file and not by an argument, which everybody on the machine could read.
  { printf 's|CLUSTER_SECRET|%s|\n' "$key"; } >"$folder/key.sed"
  sed -f "$folder/key.sed" vagrant/patches/control-plane.yaml >"$folder/control-plane.yaml"
  rm "$folder/key.sed"
  for node in $(talos_nodes); do
    patches=(--config-patch "@vagrant/patches/all.yaml")
    [ "$(role "$node")" = worker ] || patches+=(--config-patch "@$folder/control-plane.yaml")
    patches+=(--config-patch "@vagrant/patches/$node.yaml")
    mkdir -p "$folder/$node"
    "$talosctl" gen config mesh-lab https://203.0.113.11:6443 --with-secrets "$folder/secrets.yaml" --talos-version "$TALOS_VERSION" \
      --output-types "$(role "$node")" --output "$folder/$node/config.yaml" --force "${patches[@]}"
    "$talosctl" validate --mode metal --config "$folder/$node/config.yaml"
    genisoimage -quiet -V metal-iso -J -r -o "$folder/$node.iso" "$folder/$node/config.yaml"
  done
  "$talosctl" gen config mesh-lab https://203.0.113.11:6443 --with-secrets "$folder/secrets.yaml" --talos-version "$TALOS_VERSION" \
    --output-types talosconfig --output "$folder/talosconfig" --force
  "$VAGRANT_FOLDER/bin/mesh-probe" key --secrets "$folder/secrets.yaml" --to "$folder/reader.pem" >/dev/null
)

# volume NAME FILE FORMAT: a volume of the pool with what is in the file; one that is there stays.
volume() {
  local size
  ! virsh -c qemu:///system vol-info --pool default "$1" >/dev/null 2>&1 || return 0
  size=$(qemu-img info --output json "$2" | sed -n 's/.*"virtual-size": \([0-9]*\).*/\1/p' | head -1)
  virsh -c qemu:///system vol-create-as default "$1" "$size" --format "$3" >/dev/null
  virsh -c qemu:///system vol-upload --pool default "$1" "$2"
}

vagrant_up() {
  local node host
  need_vagrant
  need virsh:libvirt-clients libvirtd:libvirt-daemon-system qemu-img:qemu-utils qemu-system-x86_64:qemu-system-x86 ssh:openssh-client
  [ -e /dev/kvm ] || die "/dev/kvm is missing: emulated, four Talos nodes would not start in time"
  [ -s "$VAGRANT_FOLDER/disk/metal-amd64.qcow2" ] || vagrant_image
  vagrant_programs
  [ -s "$VAGRANT_FOLDER/configs/home-worker.iso" ] || vagrant_configs
  for node in $(talos_nodes); do
    volume "mesh-lab-$node.qcow2" "$VAGRANT_FOLDER/disk/metal-amd64.qcow2" qcow2
    volume "mesh-lab-$node-config.iso" "$VAGRANT_FOLDER/configs/$node.iso" raw
  done
  # The routers first: without them the nodes reach no discovery service and no time server.
  vagrant up internet home-router
  vagrant ssh-config internet home-router >"$VAGRANT_FOLDER/ssh-config"
  for host in internet home-router; do
    put "$host" "$VAGRANT_FOLDER/bin/talosctl" /usr/local/bin/talosctl 755
    put "$host" "$VAGRANT_FOLDER/bin/mesh-probe" /usr/local/bin/mesh-probe 755
    put "$host" "$VAGRANT_FOLDER/configs/talosconfig" /etc/mesh-lab/talosconfig 600
    put "$host" "$VAGRANT_FOLDER/configs/reader.pem" /etc/mesh-lab/reader.pem 600
  done
  # shellcheck disable=SC2046
  vagrant up $(talos_nodes)
  vagrant_mesh
}

# put HOST FILE DESTINATION MODE
put() { ssh -F "$VAGRANT_FOLDER/ssh-config" "$1" "sudo install -D -m $4 /dev/stdin $3" <"$2"; }

# The gate, asked where the collector of the first node is reached.
vagrant_mesh() {
  say "waiting for the mesh"
  ssh -F "$VAGRANT_FOLDER/ssh-config" internet "sudo mesh-probe --collector 203.0.113.11 --credentials /etc/mesh-lab/reader.pem \
    wait mesh --wait-timeout ${1:-10m}"
}

# Machines, networks, volumes and what was made of the secrets; the disk and the programs stay.
vagrant_down() {
  local node
  need_vagrant
  vagrant destroy -f
  for node in $(talos_nodes); do
    for volume in "mesh-lab-$node.qcow2" "mesh-lab-$node-config.iso"; do
      ! virsh -c qemu:///system vol-info --pool default "$volume" >/dev/null 2>&1 || virsh -c qemu:///system vol-delete --pool default "$volume"
    done
  done
  rm -rf "$VAGRANT_FOLDER/configs" "$VAGRANT_FOLDER/ssh-config"
}

vagrant_verb() {
  local verb=${1:-}
  [ $# -eq 0 ] || shift
  case "$verb" in
    validate) vagrant_validate ;;
    image) need_build; vagrant_image ;;
    up) need_build; vagrant_up ;;
    mesh) vagrant_mesh "$@" ;;
    scenario) need_build; build lab; target/lab/lab run --stage vagrant "$@" ;;
    down) vagrant_down ;;
    *) die "vagrant: '$verb': expected validate, image, up, mesh, scenario NAME [--dry-run] or down" ;;
  esac
}
