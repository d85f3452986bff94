/* Tells whoever preloads it that it is more than a day later.
 *
 * It asks the kernel itself: looking up the functions that it replaces would take memory, and the
 * compiler's allocator asks for the time while it begins. That is where libfaketime hangs.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { LATER = 26 * 60 * 60 };

int clock_gettime(clockid_t clock, struct timespec *now)
{
    long status = syscall(SYS_clock_gettime, clock, now);
    if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += LATER;
    return (int)status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    long status = syscall(SYS_gettimeofday, now, zone);
    if (status == 0)
        now->tv_sec += LATER;
    return (int)status;
}

time_t time(time_t *at)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return (time_t)-1;
    if (at != NULL)
        *at = now.tv_sec;
    return now.tv_sec;
}
