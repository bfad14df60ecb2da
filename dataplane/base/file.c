/* file.c - whole files into memory, by reading or by mapping, and out of it. */
#include "dataplane/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataplane/base/fault.h"
#include "dataplane/base/memory.h"

enum { READ_STEP_BYTES = 4096 };

/* What an empty file maps to, so that data is never NULL after success. */
static const uint8_t nothing[1];

/* An open descriptor of something that is not a directory, or -errno. */
static int open_to_read(const char *path, struct stat *st, struct error *e)
{
	int fd, rc;

	if (fault_here())
		return error_errno(e, -EIO, "cannot open %s", path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, -errno, "cannot open %s", path);
	rc = fstat(fd, st) < 0 ? -errno : S_ISDIR(st->st_mode) ? -EISDIR : 0;
	if (rc < 0) {
		close(fd);
		return error_errno(e, rc, "cannot read %s", path);
	}
	return fd;
}

/* Reads to the end, growing: the size of a pipe or of a file in /proc is not
 * known beforehand.
 */
static int read_all(int fd, const char *path, size_t expected, size_t most,
		    char **out, size_t *bytes, struct error *e)
{
	size_t length = 0, capacity = MIN(expected, most) + 2;
	char *data = mem_alloc(capacity), *larger;
	ssize_t n;

	if (!data)
		return error_errno(e, -ENOMEM, "cannot read %s", path);
	while ((n = read(fd, data + length, capacity - length - 1)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			n = error_errno(e, -errno, "cannot read %s", path);
			goto err;
		}
		length += (size_t)n;
		if (length > most) {
			n = error_set(e, -EFBIG, "%s is larger than the %zu bytes allowed",
				      path, most);
			goto err;
		}
		if (capacity - length > 1)
			continue;
		capacity += MAX(capacity, (size_t)READ_STEP_BYTES);
		larger = mem_realloc(data, capacity);
		if (!larger) {
			n = error_errno(e, -ENOMEM, "cannot read %s", path);
			goto err;
		}
		data = larger;
	}
	data[length] = '\0';
	*out = data;
	if (bytes)
		*bytes = length;
	return 0;

err:
	mem_free(data);
	return (int)n;
}

int file_read(const char *path, size_t most, char **out, size_t *bytes, struct error *e)
{
	struct stat st = { 0 };
	int fd, rc;

	*out = NULL;
	fd = open_to_read(path, &st, e);
	if (fd < 0)
		return fd;
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > most)
		rc = error_set(e, -EFBIG, "%s has %ju bytes, more than the %zu allowed",
			       path, (uintmax_t)st.st_size, most);
	else
		rc = read_all(fd, path, (size_t)st.st_size, most, out, bytes, e);
	close(fd);
	return rc;
}

static int write_all(int fd, const char *data, size_t bytes)
{
	while (bytes > 0) {
		ssize_t n = fault_here() ? (errno = ENOSPC, -1) : write(fd, data, bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		bytes -= (size_t)n;
	}
	return 0;
}

/* A rename is on the disk once its folder is. */
static int sync_folder_of(char *path)
{
	char *slash = strrchr(path, '/');
	int fd, rc;

	if (slash)
		slash[slash == path] = '\0';
	fd = open(slash ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

int file_write(const char *path, const void *data, size_t bytes, unsigned mode,
	       struct error *e)
{
	static const char ending[] = ".XXXXXX";
	size_t length = strlen(path);
	char *name = mem_alloc(length + sizeof(ending));
	int fd, rc;

	if (!name)
		return error_errno(e, -ENOMEM, "cannot write %s", path);
	memcpy(name, path, length);
	memcpy(name + length, ending, sizeof(ending));
	fd = fault_here() ? (errno = EIO, -1) : mkostemp(name, O_CLOEXEC);      /* 0600 */
	if (fd < 0) {
		rc = -errno;
		goto out;
	}
	rc = write_all(fd, data, bytes);
	if (rc == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
		rc = -errno;
	close(fd);
	if (rc == 0 && rename(name, path) < 0)
		rc = -errno;
	if (rc < 0)
		unlink(name);
	else
		rc = sync_folder_of(name);
out:
	mem_free(name);
	return rc < 0 ? error_errno(e, rc, "cannot write %s", path) : 0;
}

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int file_make_folder(const char *path, struct error *e)
{
	char *copy = mem_strdup(path), *slash;
	int rc = 0;

	if (!copy)
		return error_errno(e, -ENOMEM, "cannot make the folder %s", path);
	for (slash = strchr(copy + 1, '/'); rc == 0 && slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		rc = mkdir(copy, 0700) < 0 && errno != EEXIST ? -errno : 0;
		*slash = '/';
	}
	if (rc == 0 && mkdir(copy, 0700) < 0)
		rc = errno == EEXIST && is_folder(copy) ? 0 : -errno;
	mem_free(copy);
	return rc < 0 ? error_errno(e, rc, "cannot make the folder %s", path) : 0;
}

int file_map(struct file_map *out, const char *path, struct error *e)
{
	struct stat st = { 0 };
	void *data;
	int fd, rc = 0;

	*out = (struct file_map){ nothing, 0 };
	fd = open_to_read(path, &st, e);
	if (fd < 0)
		return fd;
	if (!S_ISREG(st.st_mode)) {
		rc = error_set(e, -EINVAL, "cannot map %s: not a regular file", path);
	} else if (st.st_size > 0) {
		data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
		if (data == MAP_FAILED)
			rc = error_errno(e, -errno, "cannot map %s", path);
		else
			*out = (struct file_map){ data, (size_t)st.st_size };
	}
	close(fd);
	return rc;
}

void file_unmap(struct file_map *m)
{
	if (m->bytes)
		munmap((void *)m->data, m->bytes);
	*m = (struct file_map){ 0 };
}

bool file_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

char *file_join(const char *dir, const char *name)
{
	size_t dir_bytes = strlen(dir), name_bytes = strlen(name);
	bool slash = dir_bytes > 0 && dir[dir_bytes - 1] != '/';
	char *path = mem_alloc(dir_bytes + slash + name_bytes + 1);

	if (!path)
		return NULL;
	memcpy(path, dir, dir_bytes);
	if (slash)
		path[dir_bytes] = '/';
	memcpy(path + dir_bytes + slash, name, name_bytes + 1);
	return path;
}
