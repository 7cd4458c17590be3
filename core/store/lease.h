/* SPDX-License-Identifier: MIT
   Whose the mail is: one owner even where two servers were given the same directory.

   On a file system of this machine alone the kernel's lock on the file "lock" says it, and ends with the process that has it. What the file holds only tells
   others who that is. Where the file system may be another machine's (NFS and the like), or mail_lock_method = lease says that its locks are not to be
   believed, there is a file "lease" too: one line with a random token, its owner's epoch (the fencing token that every record of the journal carries), lease time, process, boot and machine.
   The owner touches it every third of the lease time, and reads it before and after each write that is acknowledged: when the token is
   another's, nothing is acknowledged any more. Somebody else takes it over at once when the owner is provably dead: a process of this boot and PID
   namespace that is not there, or an earlier boot of this machine (machine-id and host name); else when the lease was not touched for the lease time, by the clock of
   the file system (which stamps a file that was just written). Records that a former owner wrote late are passed over when the journal is read: whoever takes a
   lease over by time begins a new segment.

   The line in "lock" also names the file that it is in (inode number and time of birth). A copy of it, which came with a backup that was put back or with mail that was
   moved to another disk, is another file: what was given out since the copy was made is not known then (recovery.c), and until that is dealt with the line says so. */
#ifndef CV_STORE_LEASE_H
#define CV_STORE_LEASE_H

#include <culver/err.h>

struct cv_lease {
	int dir, lock_fd;        /* borrowed */
	unsigned file_mode;
	uint64_t time_sec;
	bool strict;             /* there is a lease file */
	bool held;
	bool by_time;            /* it was taken from somebody who may live */
	bool copied;             /* the file "lock" is a copy of the one that the owner before had */
	uint64_t epoch;          /* of the one before, for the journal to go on above */
	char line[512];          /* what the file says while it is ours */
	char token[33];
};

/* A word that is another one after each start of the machine; "-" when the system does not tell. */
#define CV_BOOT_ID_MAX 128
void cv_boot_id(char id_r[CV_BOOT_ID_MAX]);
/* Read that, and which machine and process namespace this is, for this process and those that are forked from it; else the first who needs it does. */
void cv_lease_look_around(void);
/* Take the lock and, where there has to be one, the lease. only_lease: the file system's locks are not asked. INUSE: somebody else has it, and err says who. */
CV_MUST_CHECK int cv_lease_take(struct cv_lease *lease, int dir, int lock_fd, unsigned file_mode, uint64_t time_sec, bool only_lease, struct cv_err *err);
/* That it is a copy was dealt with. */
CV_MUST_CHECK int cv_lease_settle(struct cv_lease *lease, struct cv_err *err);
/* Is it still ours? 1; -1: INUSE when it is somebody else's, others when that can't be read. Costs nothing where there is no lease file. */
CV_MUST_CHECK int cv_lease_check(struct cv_lease *lease, struct cv_err *err);
/* Touch it: to be called every third of the lease time. As cv_lease_check. */
CV_MUST_CHECK int cv_lease_renew(struct cv_lease *lease, struct cv_err *err);
/* It is not needed any more. */
void cv_lease_drop(struct cv_lease *lease);

#endif
