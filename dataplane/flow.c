/* flow.c - life of a flow: opened with keys, its path probed, used, broken, stopped,
 * settled.
 *
 * A path is tried with the largest segments that the port's MTU allows and, beside
 * them, the smallest: if only those pass, the size steps down until one is answered.
 */
#include "dataplane/flow_state.h"

#include <errno.h>
#include <string.h>
#include <openssl/crypto.h>

#include "dataplane/base/memory.h"

enum {
	PROBE_NS = 10000000,            /* between rounds, doubling */
	PROBE_DOUBLINGS = 3,
	PROBE_ROUNDS = 3,               /* of a size, before a smaller one */
	GOODBYES = 3,
};

static const char *const end_names[FLOW_ENDS] = {
	[FLOW_UNREACHABLE] = "unreachable", [FLOW_SILENT] = "silent", [FLOW_LOSSY] = "lossy",
	[FLOW_CLOSED] = "closed", [FLOW_FAULTY] = "faulty", [FLOW_NO_MEMORY] = "no_memory",
};

const char *flow_end_name(enum flow_end why)
{
	return (unsigned)why < FLOW_ENDS ? end_names[why] : "unknown";
}

static void free_memory(struct flow *f)
{
	seal_close(f->out);
	seal_close(f->in);
	mem_free(f->sent);
	mem_free(f->outgoing);
	mem_free(f->incoming);
	mem_free(f->out_bits);
	mem_free(f->in_bits);
	mem_free(f->out_spare);
	mem_free(f->in_spare);
	OPENSSL_cleanse(&f->options, sizeof(f->options));
	mem_free(f);
}

static int allocate(struct flow *f)
{
	uint32_t in = f->options.large_in.messages, out = f->options.large_out.messages;

	f->sent = mem_calloc(SENT_PACKETS, sizeof(*f->sent));
	f->outgoing = mem_calloc(FLOW_MESSAGES, sizeof(*f->outgoing));
	f->incoming = mem_calloc(FLOW_MESSAGES, sizeof(*f->incoming));
	f->out_bits = mem_calloc(2ull * out * large_words(f->options.large_out.bytes) + 1, 8);
	f->in_bits = mem_calloc((size_t)in * large_words(f->options.large_in.bytes) + 1, 8);
	f->out_spare = mem_calloc(out + 1, sizeof(*f->out_spare));
	f->in_spare = mem_calloc(in + 1, sizeof(*f->in_spare));
	if (!f->sent || !f->outgoing || !f->incoming || !f->out_bits || !f->in_bits ||
	    !f->out_spare || !f->in_spare)
		return -ENOMEM;
	for (; f->out_spares < out; f->out_spares++)
		f->out_spare[f->out_spares] = f->out_spares;
	for (; f->in_spares < in; f->in_spares++)
		f->in_spare[f->in_spares] = f->in_spares;
	return 0;
}

static int open_keys(struct flow *f, uint64_t now_ns)
{
	int rc = seal_open(&f->out, SEAL_SENDS, f->options.send_secret, &f->options.seal, now_ns);

	if (rc == 0)
		rc = seal_open(&f->in, SEAL_RECEIVES, f->options.receive_secret, &f->options.seal,
			       now_ns);
	OPENSSL_cleanse(f->options.send_secret, SEAL_SECRET_BYTES);
	OPENSSL_cleanse(f->options.receive_secret, SEAL_SECRET_BYTES);
	return rc;
}

static int open_path(struct flow *f, struct error *e)
{
	struct port *port = f->set->port;
	uint32_t mtu;
	int rc;

	rc = port->ops->path(port, &f->options.to, &f->path, e);
	if (rc < 0)
		return rc;
	mtu = port->ops->mtu_bytes(port, f->path);
	f->row = packet_size_for(mtu);
	if (f->row >= 0)
		return 0;
	port->ops->forget(port, f->path);
	return error_set(e, -EMSGSIZE, "the path to %s takes datagrams of %u bytes; at least %d "
			 "are needed", f->options.to.text, mtu,
			 packet_segment_bytes[0] + PACKET_EXTRA_BYTES);
}

static int enlist(struct flow *f, struct error *e)
{
	struct flows *fs = f->set;

	if (fs->count == fs->options.flows_max)
		return error_set(e, -ENFILE, "all %u flows of the port are taken", fs->count);
	if (map_put(fs->by_connection, f->options.connection_in, f) < 0)
		return error_set(e, -EEXIST, "connection %08x is known already",
				 f->options.connection_in);
	f->index = fs->count++;
	fs->flows[f->index] = f;
	return 0;
}

static void begin_life(struct flow *f)
{
	f->born_att = f->probe_att = f->heard_att = attentive(f->set);
	f->progress_att = f->last_sent_att = f->reorder_att = f->born_att;
	f->loss_att = UINT64_MAX;
	f->reorder_factor = 1;
	f->row_known = -1;
	f->state = STATE_PROBING;
	flow_window_start(&f->window, f->set->options.target_ns, f->set->options.window_most);
}

int flow_open(struct flow **out, struct flows *fs, const struct flow_options *o,
	      const struct flow_events *events, void *ctx, uint64_t now_ns, struct error *e)
{
	struct flow *f = mem_calloc(1, sizeof(*f));
	int rc = -ENOMEM;

	*out = NULL;
	if (!f)
		return error_errno(e, -ENOMEM, "cannot open a flow to %s", o->to.text);
	f->set = fs;
	f->options = *o;
	f->events = *events;
	f->ctx = ctx;
	f->options.seal.lossy = true;
	fs->now_ns = MAX(fs->now_ns, now_ns);
	if (allocate(f) < 0 || open_keys(f, now_ns) < 0) {
		error_errno(e, -ENOMEM, "cannot open a flow to %s", o->to.text);
		goto err;
	}
	rc = open_path(f, e);
	if (rc < 0)
		goto err;
	rc = enlist(f, e);
	if (rc < 0)
		goto err_path;
	begin_life(f);
	*out = f;
	return 0;

err_path:
	fs->port->ops->forget(fs->port, f->path);
err:
	free_memory(f);
	return rc;
}

/* Nobody will be there to send it again, so it is sent a few times at once. */
static void say_goodbye(struct flow *f)
{
	struct packet p;

	for (int i = 0; i < GOODBYES && f->state != STATE_BROKEN; i++) {
		p = (struct packet){ .type = PACKET_CLOSE };
		if (!flow_packet(f, &p, ""))
			return;
	}
}

void flow_close(struct flow *f)
{
	struct flows *fs;

	if (!f)
		return;
	fs = f->set;
	assert(!fs->in_event);
	say_goodbye(f);
	flows_flush(fs);
	flow_stop(f);
	map_remove(fs->by_connection, f->options.connection_in);
	fs->port->ops->forget(fs->port, f->path);
	fs->flows[f->index] = fs->flows[--fs->count];
	fs->flows[f->index]->index = f->index;
	free_memory(f);
}

void flow_break(struct flow *f, enum flow_end why)
{
	struct flows *fs = f->set;

	if (!flow_lives(f))
		return;
	fs->open -= f->state == STATE_OPEN;
	f->state = STATE_BROKEN;
	fs->work++;
	counters_add(fs->counters, ENDS, fs->end_series[why], 1);
	f->events.broken(f->ctx, why);
}

void flow_stop(struct flow *f)
{
	if (f->state == STATE_STOPPED)
		return;
	f->set->open -= f->state == STATE_OPEN;
	f->state = STATE_STOPPED;
	incoming_drop(f);
}

void flow_completed(const struct flow *f, struct wire_completed *out)
{
	*out = (struct wire_completed){ .done = le32_of(f->done) };
	for (uint32_t i = 0; i < f->done_end - f->done; i++) {
		const struct incoming *m = &f->incoming[(f->done + i) % FLOW_MESSAGES];

		if (m->state == IN_HANDED && m->id == f->done + i)
			out->later[i / 64].raw |= 1ull << i % 64;
	}
}

static bool is_completed(const struct wire_completed *c, uint32_t id)
{
	uint32_t i = id - le32_get(c->done);

	return (int32_t)i < 0 || (i < FLOW_MESSAGES && le64_get(c->later[i / 64]) >> i % 64 & 1);
}

int flow_settle(struct flow *f, const struct wire_completed *theirs,
		void (*unsent)(void *ctx, void *owner))
{
	uint32_t first = f->out_first, next = f->out_next;

	assert(f->state == STATE_STOPPED && !f->set->in_event);
	if (le32_get(theirs->done) - first > next - first)
		return -EPROTO;
	for (int round = 0; round < 2; round++)
		for (uint32_t id = first; id != next; id++) {
			struct outgoing *o = outgoing_find(f, id);

			if (!o || o->state == OUT_DONE)
				continue;
			if (is_completed(theirs, id)) {
				outgoing_done(f, o);
			} else if (round == 1) {
				o->state = OUT_DONE;
				unsent(f->ctx, o->what.owner);
			}
		}
	outgoing_settle(f);
	return 0;
}

void flow_inform(const struct flow *f, struct flow_info *out)
{
	*out = (struct flow_info){
		.open = f->state == STATE_OPEN, .segment_bytes = f->size,
		.rtt_ns = f->window.srtt_ns, .window = f->window.packets,
		.in_flight = f->in_flight, .messages_out = f->out_next - f->out_first,
	};
	for (uint32_t i = 0; i < FLOW_MESSAGES; i++)
		out->messages_in += f->incoming[i].state == IN_LANDING ||
				    f->incoming[i].state == IN_WHOLE;
}

/* ---- probes ---- */

void flow_probed(struct flow *f, int row)
{
	f->row_known = MAX(f->row_known, row);
	if (f->state != STATE_PROBING || row != f->row)
		return;
	f->state = STATE_OPEN;
	f->size = packet_segment_bytes[row];
	f->set->open++;
	f->set->work++;
	f->events.opened(f->ctx);
}

static bool send_probe(struct flow *f, int row)
{
	static const uint8_t zeros[PACKET_SEGMENT_BYTES_MAX];
	struct packet p = { .type = PACKET_PROBE, .flags = PACKET_ACK_NOW,
			    .segment = (uint32_t)row, .payload_bytes = packet_segment_bytes[row] };

	return flow_packet(f, &p, zeros);
}

static void probe_round(struct flow *f)
{
	uint64_t wait_ns = (uint64_t)PROBE_NS << MIN(f->probes, (uint32_t)PROBE_DOUBLINGS);

	if (f->probes >= PROBE_ROUNDS && f->row_known >= 0 && f->row > f->row_known) {
		f->row--;
		f->probes = 0;
		wait_ns = PROBE_NS;
	}
	f->probes++;
	f->probe_att = attentive(f->set) + wait_ns;
	if (send_probe(f, f->row) && f->row > 0 && f->row_known < 0)
		send_probe(f, 0);
}

uint64_t flow_probe_due(const struct flow *f)
{
	uint64_t quiet_att = f->heard_att + f->set->options.keepalive_ns;

	if (f->state == STATE_PROBING)
		return MIN(f->probe_att, f->born_att + f->set->options.give_up_ns);
	return f->state == STATE_OPEN ? MAX(f->probe_att, quiet_att) : UINT64_MAX;
}

void flow_probe(struct flow *f)
{
	const struct flows_options *o = &f->set->options;
	uint64_t now_att = attentive(f->set);

	if (now_att < flow_probe_due(f))
		return;
	if (f->state == STATE_PROBING && now_att - f->born_att >= o->give_up_ns) {
		flow_break(f, FLOW_UNREACHABLE);
	} else if (f->state == STATE_PROBING) {
		probe_round(f);
	} else if (now_att - f->heard_att >= o->keepalive_ns + o->give_up_ns) {
		flow_break(f, FLOW_SILENT);
	} else {
		f->probe_att = now_att + o->give_up_ns / 8;
		send_probe(f, 0);
	}
}
