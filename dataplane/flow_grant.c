/* flow_grant.c - which large messages may be sent to us, and how far.
 *
 * All flows of a port share its downlink, so they share one budget: bytes that are
 * granted and not here yet.  It is split among the GRANT_SENDERS messages that need
 * least to be whole (SRPT), so that some finish soon and the switch in front of us
 * never holds more than the budget, however many senders want to send.  Each
 * OLDEST_EVERY-th round begins with the message that has waited longest.  One that
 * was granted and says nothing for a while is passed over.
 */
#include "dataplane/flow_state.h"

enum {
	GRANT_SENDERS = 4,
	OLDEST_EVERY = 20,
	STALE_NS = 10000000,
	GRANT_NEWS = ACK_EVERY / 2,     /* segments that are worth a new look */
};

void grant_want(struct flows *fs, struct incoming *m)
{
	m->previous = NULL;
	m->next = fs->granting;
	if (m->next)
		m->next->previous = m;
	fs->granting = m;
	fs->granting_count++;
	fs->grant_news = GRANT_NEWS;
}

void grant_unwant(struct flows *fs, struct incoming *m)
{
	if (m->previous)
		m->previous->next = m->next;
	else
		fs->granting = m->next;
	if (m->next)
		m->next->previous = m->previous;
	m->next = m->previous = NULL;
	fs->granting_count--;
	fs->grant_news = GRANT_NEWS;
}

static uint64_t left_bytes(const struct incoming *m)
{
	return (uint64_t)(m->segments - m->got) * m->size;
}

static uint64_t on_the_way(const struct incoming *m)
{
	return m->granted > m->got ? (uint64_t)(m->granted - m->got) * m->size : 0;
}

static bool stale(const struct flows *fs, const struct incoming *m)
{
	return m->granted > m->got && attentive(fs) - m->heard_att > STALE_NS;
}

/* The GRANT_SENDERS that need least, in order; for one round the oldest goes first:
 * the list has it at its end.
 */
static uint32_t choose(const struct flows *fs, bool oldest_first,
		       struct incoming *out[GRANT_SENDERS])
{
	struct incoming *oldest = NULL;
	uint32_t count = 0, at;

	for (struct incoming *m = fs->granting; m; m = m->next)
		if (!stale(fs, m))
			oldest = m;
	if (oldest_first && oldest)
		out[count++] = oldest;
	for (struct incoming *m = fs->granting; m; m = m->next) {
		if (stale(fs, m) || (oldest_first && m == oldest))
			continue;
		for (at = count; at > (oldest_first ? 1 : 0); at--)
			if (left_bytes(out[at - 1]) <= left_bytes(m))
				break;
		if (at == GRANT_SENDERS)
			continue;
		count = MIN(count + 1, (uint32_t)GRANT_SENDERS);
		for (uint32_t k = count - 1; k > at; k--)
			out[k] = out[k - 1];
		out[at] = m;
	}
	return count;
}

/* Up to `bytes` more; in steps worth a packet of their own. */
static uint64_t grant(struct incoming *m, uint64_t bytes)
{
	uint32_t more = (uint32_t)MIN(bytes / m->size, (uint64_t)(m->segments - m->granted));

	if (more == 0 || (more < ACK_EVERY && m->granted + more < m->segments &&
			  m->granted > m->got))
		return 0;
	m->granted += more;
	if (!m->grant_due)
		m->flow->grants_due++;
	m->grant_due = true;
	m->flow->set->tally.granted += more;
	return (uint64_t)more * m->size;
}

/* Not for each segment: a sender that has some left does not wait for us. */
void grants_arrived(struct flows *fs, const struct incoming *m)
{
	fs->grant_news += m->got >= m->granted ? GRANT_NEWS : 1;
}

bool grants_are_due(const struct flows *fs)
{
	return fs->granting && (fs->grant_news >= GRANT_NEWS ||
				fs->now_ns - fs->granted_ns >= STALE_NS);
}

void grants_run(struct flows *fs)
{
	struct incoming *chosen[GRANT_SENDERS];
	uint64_t budget = fs->options.grant_bytes, used = 0, has, share, least, room;
	uint32_t count;

	for (struct incoming *m = fs->granting; m; m = m->next)
		if (!stale(fs, m))
			used += on_the_way(m);
	count = choose(fs, ++fs->grant_rounds % OLDEST_EVERY == 0, chosen);
	for (uint32_t i = 0; i < count; i++) {
		least = (uint64_t)ACK_EVERY * chosen[i]->size;
		share = MAX(budget / count, least);
		has = on_the_way(chosen[i]);
		room = used < budget ? budget - used : 0;
		if (used == 0)          /* somebody always may, however small the budget */
			room = MAX(room, least);
		if (has < share)
			used += grant(chosen[i], MIN(share - has, room));
	}
	fs->grant_news = 0;
	fs->granted_ns = fs->now_ns;
}
