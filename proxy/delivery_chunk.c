#include "proxy/delivery_state.h"

/*
 * To every server that takes the message: one with CHUNKING gets the chunks as
 * the client made them, one without is told DATA before the first of them and
 * gets lines.
 */
static void
pass(struct delivery *delivery, struct slice octets, struct slice lines)
{
	for (size_t i = 0; i < delivery->back_count; i++) {
		struct lmtp_back *back = delivery->backs[i];
		struct slice content =
		    lmtp_back_takes_chunks(back) ? octets : lines;

		if (content.size > 0 && delivery_is_waited_for(delivery, back))
			lmtp_back_content(back, content);
		if (delivery->state == DELIVERY_DEAD)
			return;
	}
}

static void
pass_piece(struct delivery *delivery, struct slice piece)
{
	struct buf lines = buf_bounded(2 * piece.size + 1);

	lmtp_stuff(&delivery->stuffing, piece, &lines);
	pass(delivery, piece, buf_slice(&lines));
	buf_free(&lines);
}

static void
end_last_chunk(struct delivery *delivery)
{
	struct buf lines = buf_bounded(16);

	/* What the last line may lack is also there for those who look for
	 * ends of their own. */
	if (delivery->end.last != '\n')
		lmtp_watch(&delivery->end, slice_from("\r\n"));
	if (!delivery_check_message(delivery)) {
		lmtp_end_stuffing(&delivery->stuffing, &lines);
		pass(delivery, slice_from(""), buf_slice(&lines));
	}
	buf_free(&lines);
	if (delivery->state == DELIVERY_STREAMING)
		delivery_end_message(delivery);
}

void
delivery_finish_chunk(struct delivery *delivery)
{
	for (size_t i = 0; i < delivery->back_count; i++) {
		struct lmtp_back *back = delivery->backs[i];

		if (delivery_is_waited_for(delivery, back) &&
		    lmtp_back_is_busy(back)) {
			delivery_arm(delivery);
			return;
		}
	}
	delivery_say(delivery, "250 2.0.0 Octets received.");
	delivery->state = DELIVERY_COMMAND;
	delivery_take_commands(delivery);
}

/* All octets of a chunk are through. */
static void
end_chunk(struct delivery *delivery)
{
	if (delivery->last_chunk) {
		end_last_chunk(delivery);
		return;
	}
	delivery->state = DELIVERY_CHUNK;
	delivery_wait(delivery, delivery->relay->config->limits.idle_time);
	delivery_finish_chunk(delivery);
}

void
delivery_stream_chunk(struct delivery *delivery)
{
	struct slice piece =
	    slice_first(buf_slice(&delivery->in), delivery->chunk_left);

	lmtp_watch(&delivery->end, piece);
	hops_watch(&delivery->hops, piece);
	delivery->size += piece.size;
	delivery->chunk_left -= piece.size;
	if (!delivery_check_message(delivery))
		pass_piece(delivery, piece);
	buf_consume(&delivery->in, piece.size);
	if (delivery->state != DELIVERY_STREAMING)
		return;
	if (delivery->chunk_left > 0)
		delivery_arm(delivery);
	else
		end_chunk(delivery);
}

void
delivery_begin_chunk(struct delivery *delivery)
{
	delivery->state = DELIVERY_STREAMING;
	delivery_wait(
	    delivery, delivery->relay->config->limits.write_stall_time);
	for (size_t i = 0; i < delivery->back_count; i++) {
		struct lmtp_back *back = delivery->backs[i];

		if (lmtp_back_takes_chunks(back) &&
		    delivery_is_waited_for(delivery, back))
			lmtp_back_chunk(
			    back, delivery->chunk_left, delivery->last_chunk);
	}
	if (delivery->state == DELIVERY_STREAMING)
		delivery_stream_chunk(delivery);
}

/* RFC 3030 section 2: refused or not, the octets come, and are no commands. */
void
delivery_skip_chunk(struct delivery *delivery)
{
	struct slice piece =
	    slice_first(buf_slice(&delivery->in), delivery->chunk_left);

	delivery->chunk_left -= piece.size;
	buf_consume(&delivery->in, piece.size);
	if (delivery->chunk_left > 0) {
		delivery_arm(delivery);
		return;
	}
	delivery_say(delivery, "503 5.5.1 There is no valid recipient.");
	delivery->state = DELIVERY_COMMAND;
	delivery_take_commands(delivery);
}

void
delivery_start_chunk(struct delivery *delivery, uint64_t size, bool last)
{
	delivery->chunk_left = size;
	delivery->last_chunk = last;
	if (delivery->recipient_count == 0) {
		delivery->state = DELIVERY_SKIPPING;
		delivery_wait(
		    delivery, delivery->relay->config->limits.write_stall_time);
		delivery_skip_chunk(delivery);
	} else if (delivery->chunked) {
		delivery_begin_chunk(delivery);
	} else {
		delivery->chunked = true;
		delivery_start_message(delivery);
	}
}
