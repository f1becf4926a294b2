/* What a hostile program asks of the kernel. One line each: the call, and how it was refused. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void show(const char *name, long result) {
    printf("%s %s\n", name, result < 0 ? strerrorname_np(errno) : "allowed");
}

#define CALL(name, ...) show(#name, syscall(SYS_##name, ##__VA_ARGS__))

static void kernel_calls(void) {
    char *none[] = {NULL};
    CALL(acct, 0);
    CALL(add_key, "user", "name", "x", 1, -3);
    CALL(bpf, 0, 0, 0);
    CALL(clone, CLONE_NEWUSER | 17, 0, 0, 0, 0);
    CALL(clone3, 0, 0);
    CALL(delete_module, "none", 0);
    CALL(finit_module, -1, "", 0);
    CALL(fsopen, "tmpfs", 0);
    CALL(init_module, none, 0, "");
    CALL(io_uring_setup, 1, 0);
    CALL(kexec_load, 0, 0, 0, 0);
    CALL(keyctl, 0, 0, 0, 0, 0);
    CALL(mount, "x", "/tmp", "tmpfs", 0, 0);
    CALL(mount_setattr, -1, "", 0, 0, 0);
    CALL(move_mount, -1, "", -1, "", 0);
    CALL(open_by_handle_at, AT_FDCWD, none, O_RDONLY);
    CALL(open_tree, AT_FDCWD, "/", 1);
    CALL(perf_event_open, 0, 0, -1, -1, 0);
    CALL(pivot_root, "/", "/");
    CALL(quotactl, 0, 0, 0, 0);
    CALL(reboot, 0, 0, 0, 0);
    CALL(request_key, "user", "name", 0, 0);
    CALL(setns, 0, 0);
    CALL(settimeofday, 0, 0);
    CALL(swapon, "/none", 0);
    CALL(syslog, 3, 0, 0);
    CALL(umount2, "/proc", 2);
    CALL(unshare, CLONE_NEWUSER);
    CALL(userfaultfd, 0);
    CALL(vhangup);
}

static void sockets(void) {
    show("AF_ALG", socket(38, SOCK_SEQPACKET, 0));
    show("AF_VSOCK", socket(40, SOCK_STREAM, 0));
    show("AF_PACKET", socket(17, SOCK_DGRAM, 0));
    show("AF_UNIX", socket(AF_UNIX, SOCK_STREAM, 0));
}

#ifdef __x86_64__
static long by_interrupt(long number, long one, long two, long three) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result)
                     : "a"(number), "b"(one), "c"(two), "d"(three) : "memory", "r8", "r9", "r10", "r11");
    errno = (int)-result;
    return (int)result < 0 ? -1 : result;
}

/* The same by the two other ways into the kernel: of 32-bit programs, and of x32. */
static void other_ways(void) {
    unsigned *low = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    for (int family = 38; family <= 40; family += 2) {
        low[0] = family, low[1] = family == 38 ? SOCK_SEQPACKET : SOCK_STREAM, low[2] = 0;
        show(family == 38 ? "i386-socketcall-AF_ALG" : "i386-socketcall-AF_VSOCK",
             by_interrupt(102, 1, (long)low, 0));
        show(family == 38 ? "i386-socket-AF_ALG" : "i386-socket-AF_VSOCK",
             by_interrupt(359, low[0], low[1], 0));
    }
    show("i386-socket-AF_UNIX", by_interrupt(359, AF_UNIX, SOCK_STREAM, 0));
    show("i386-unshare", by_interrupt(310, CLONE_NEWUSER, 0, 0));
    show("i386-keyctl", by_interrupt(288, 0, 0, 0));
    show("x32-unshare", syscall(0x40000000 | SYS_unshare, CLONE_NEWUSER));
    show("x32-keyctl", syscall(0x40000000 | SYS_keyctl, 0, 0, 0));
}
#else
static void other_ways(void) {}
#endif

static void devices(void) {
    /* Block devices of usual disks, memory, ports, the console, and whatever FUSE and KVM are. */
    int numbers[][3] = {{S_IFBLK, 8, 0}, {S_IFBLK, 254, 0}, {S_IFBLK, 259, 0}, {S_IFBLK, 7, 0},
                        {S_IFCHR, 1, 1}, {S_IFCHR, 1, 2}, {S_IFCHR, 1, 4}, {S_IFCHR, 1, 11},
                        {S_IFCHR, 4, 0}, {S_IFCHR, 4, 64}, {S_IFCHR, 10, 229}, {S_IFCHR, 10, 232}};
    for (unsigned n = 0; n < sizeof numbers / sizeof *numbers; n++) {
        char name[40];
        snprintf(name, sizeof name, "/tmp/node-%d-%d", numbers[n][1], numbers[n][2]);
        mknod(name, numbers[n][0] | 0600, makedev(numbers[n][1], numbers[n][2]));
        show(name + 5, open(name, O_RDONLY | O_NONBLOCK));
    }
}

int main(void) {
    kernel_calls();
    sockets();
    other_ways();
    devices();
    char byte = 'x';
    show("TIOCSTI", ioctl(0, 0x5412, &byte));
    show("write-self", open("/proc/self/exe", O_WRONLY));
    return 0;
}
