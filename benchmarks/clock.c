/* The clock of a drill: whoever is started with this preloaded lives in a time that is off by as many seconds as the file
 * named by DRILL_CLOCK says (a long), from the moment that it says so. Only the clock on the wall moves, as where a
 * machine's time is set: what measures durations does not. Waits "until" a wall time are told to the kernel in its own.
 * Not libfaketime: with its monotonic clock left alone, Python's sleep fails ("Invalid argument"). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WALL(id) ((id) == CLOCK_REALTIME || (id) == CLOCK_REALTIME_COARSE)

static volatile long *off;

__attribute__((constructor)) static void look(void) {
    static long none;
    off = &none;
    const char *name = getenv("DRILL_CLOCK");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) off = page;
    close(file);
}

static long shift(void) { return off ? *off : 0; }

/* What the kernel calls that time. One before 2001 is no wall time: the monotonic clock counts from the machine's start. */
static struct timespec unshifted(const struct timespec *until) {
    struct timespec real = *until;
    if (real.tv_sec > 1000000000) real.tv_sec -= shift();
    return real;
}

int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = REAL(clock_gettime);
    int failed = real(id, now);
    if (!failed && WALL(id)) now->tv_sec += shift();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (now) *now = precise.tv_sec;
    return precise.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real) real = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2"); /* not the one of LinuxThreads */
    struct timespec then = unshifted(until);
    return real(condition, mutex, &then);
}

int sem_timedwait(sem_t *semaphore, const struct timespec *until) {
    struct timespec real = unshifted(until);
    return sem_clockwait(semaphore, CLOCK_REALTIME, &real);
}

long syscall(long number, ...) {
    static long (*real)(long, ...);
    long given[6];
    __builtin_va_list rest;
    __builtin_va_start(rest, number);
    for (int i = 0; i < 6; i++) given[i] = __builtin_va_arg(rest, long);
    __builtin_va_end(rest);
    if (!real) real = REAL(syscall);
    struct timespec until; /* abseil waits in the kernel itself */
    if (number == SYS_futex && (given[1] & FUTEX_CLOCK_REALTIME) && given[3]) {
        until = unshifted((const struct timespec *)given[3]);
        given[3] = (long)&until;
    }
    return real(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}
