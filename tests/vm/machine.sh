# Read by the scripts beside it: a Debian machine with systemd, pure cgroup v2 and Debian's cloud
# kernel, and with this project in /pyctr. Needs mmdebstrap, qemu-system-x86 and e2fsprogs;
# everything is emulated (slow, but anywhere). The Debian archive is kept in PYCTR_VM_CACHE.
cache=${PYCTR_VM_CACHE:-/var/tmp/pyctr-vm}
work=$(mktemp -d /var/tmp/pyctr-vm.XXXXXX)
trap 'rm -rf "$work"' EXIT
root=$work/root

# make_root: the root file system in $root
make_root() {
    mkdir -p "$cache" "$root"
    if [ ! -f "$cache/root.tar" ]; then
        echo "making the Debian root file system in $cache"
        packages=linux-image-cloud-amd64,systemd-sysv,udev,util-linux,iproute2,busybox-static
        packages=$packages,libseccomp2,tini,gcc,libc6-dev,python3,python3-prctl,python3-pytest
        packages=$packages,python3-hypothesis,python3-pytest-xdist,e2fsprogs,kmod,procps
        mmdebstrap --quiet --format=tar --variant=minbase --include="$packages" bookworm "$cache/root.tar.new"
        mv "$cache/root.tar.new" "$cache/root.tar"
    fi
    tar xf "$cache/root.tar" -C "$root"
    mkdir "$root/pyctr"
    tar c --exclude=.venv --exclude=.git --exclude='*_cache' --exclude=__pycache__ . |
        tar x -C "$root/pyctr"
    ln -sf /dev/null "$root/etc/systemd/system/serial-getty@ttyS0.service"
    echo pyctr-vm > "$root/etc/hostname"
}

# start_with_it NAME: a service, whose unit is read from standard input, that starts with the machine
start_with_it() {
    cat > "$root/etc/systemd/system/$1"
    wants="$root/etc/systemd/system/multi-user.target.wants"
    mkdir -p "$wants"
    ln -s "../$1" "$wants/$1"
}

# boot [QEMU ARGUMENTS]: runs the machine until it is off; its exit code is what follows
# "pyctr-vm: exit" on its console
boot() {
    cp "$(find "$root/boot" -name 'vmlinuz-*')" "$work/kernel"
    cp "$(find "$root/boot" -name 'initrd.img-*')" "$work/initrd"
    truncate -s 3G "$work/disk"
    mkfs.ext4 -q -d "$root" "$work/disk"
    rm -rf "$root"
    echo "booting"
    timeout "${PYCTR_VM_TIMEOUT:-3600}" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 \
        -m 2048 -kernel "$work/kernel" -initrd "$work/initrd" \
        -append "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=false" \
        -drive "file=$work/disk,format=raw,if=virtio,cache=unsafe" \
        -display none -serial stdio -monitor none -nic none "$@" </dev/null | tee "$work/console"
    code=$(sed -n 's/.*pyctr-vm: exit \([0-9]*\).*/\1/p' "$work/console" | tail -n 1)
    return "${code:-1}"
}
