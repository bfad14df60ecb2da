/* types.h - the small vocabulary every file speaks: fixed-endian integers,
 * array lengths, alignment, time units.
 *
 * Threads    Pure functions and constants; safe anywhere.
 * Ownership  None.
 * Units      NS_PER_*; *_bytes are bytes.
 * Errors     None.
 */
#ifndef PETALS_BASE_TYPES_H
#define PETALS_BASE_TYPES_H

#include <assert.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef NDEBUG
#error "assertions stay on in production: do not define NDEBUG"
#endif

#define ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

#define KIB (1ull << 10)
#define MIB (1ull << 20)
#define GIB (1ull << 30)

/* Rounds up to a multiple of a power of two. */
static inline uint64_t align_up(uint64_t value, uint64_t alignment)
{
	return (value + alignment - 1) & ~(alignment - 1);
}

/* Little-endian integers as they stand in files and frames.  Wrapped in
 * structs so that a raw field cannot be used by accident.  All supported
 * hosts are little-endian; the assertion keeps that honest.
 */
typedef struct { uint16_t raw; } le16;
typedef struct { uint32_t raw; } le32;
typedef struct { uint64_t raw; } le64;
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	      "add byte swaps to types.h before building for this host");

static inline uint16_t le16_get(le16 v) { return v.raw; }
static inline uint32_t le32_get(le32 v) { return v.raw; }
static inline uint64_t le64_get(le64 v) { return v.raw; }
static inline le16 le16_of(uint16_t v) { return (le16){ v }; }
static inline le32 le32_of(uint32_t v) { return (le32){ v }; }
static inline le64 le64_of(uint64_t v) { return (le64){ v }; }

#endif
