/* SPDX-License-Identifier: MIT
   A disk that loses its power: the calls that a process makes through core/store/io.c are recorded, and at any point of the record a tree is made
   that a file system may leave behind. */
#ifndef CV_CRASH_DISK_H
#define CV_CRASH_DISK_H

#include <culver/file.h>

struct disk;

/* Record what happens below root (absolute, no link in it), whose own existence is taken for durable, as is all that is there already (the first calls
   of the record make it). */
struct disk *disk_new(const char *root);
void disk_free(struct disk **disk);
/* Begin or stop to observe this process's calls; one disk at a time. */
void disk_record(struct disk *disk, bool on);
/* Calls recorded so far: the power may fail before call 0 … before call n, with the last meaning "after all". */
size_t disk_calls(const struct disk *disk);
/* What call number n was, for reports. Borrowed until the next call of this function. */
const char *disk_call_text(struct disk *disk, size_t n);

/* What of that which was never synced survives; never synced is also what was written before a sync that failed, whatever syncs came later. Of files: blocks of 512 octets, of directories: names. In all of them, what was synced is there: a
   file's octets and length after its sync, a directory's names after the directory's; a rename is never seen with neither name. */
enum disk_luck {
	DISK_NOTHING,  /* nothing */
	DISK_ALL,      /* everything */
	DISK_SOME,     /* any blocks, any names, any length that was there meanwhile */
	DISK_EARLY,    /* all up to some call, nothing after */
	DISK_ORDERED,  /* names in the order of the calls up to some call, and all names up to the last sync of whatever, as journaling file systems
	                  do; any blocks */
	DISK_NAMES,    /* all names, no blocks: files have their new length and zeros in them */
	DISK_LUCKS
};
const char *disk_luck_name(enum disk_luck luck);
/* May the file whose name call `unlink` took away be found under an earlier name, in a directory called dir_name, when the power fails before call at? So it is when it was
   renamed before that call, and the directory that it was renamed from was not synced since. */
bool disk_may_return(const struct disk *disk, size_t at, size_t unlink, const char *dir_name);

/* Make the tree that the power's failing before call `at` leaves, in the empty directory to. The same seed gives the same tree. */
void disk_cut(const struct disk *disk, size_t at, enum disk_luck luck, uint64_t seed, const char *to);

#endif
