/* Stands where a hostile image has the dynamic loader of the host's programs: should the runtime's
 * own interpreter be executed inside, this runs in it (CVE-2019-5736). It tries to
 * open the interpreter for writing, and changes nothing. */
#include <fcntl.h>
#include <sys/syscall.h>

static long call(long number, long one, long two, long three) {
    long result;
#ifdef __x86_64__
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(one), "S"(two), "d"(three)
                     : "rcx", "r11", "memory");
#else
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = one;
    register long x1 __asm__("x1") = two;
    register long x2 __asm__("x2") = three;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    result = x0;
#endif
    return result;
}

static void say(const char *text, long size) { call(SYS_write, 1, (long)text, size); }

void _start(void) {
    long opened = call(SYS_openat, AT_FDCWD, (long)"/proc/self/exe", O_WRONLY);
    opened < 0 ? say("executed\n", 9) : say("WRITABLE\n", 9);
    call(SYS_exit, 0, 0, 0);
}
