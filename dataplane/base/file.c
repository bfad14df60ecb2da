/* file.c - whole files into memory, by reading or by mapping. */
#include "dataplane/base/file.h"

#include <errno.h>
#include <fcntl.h>
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
