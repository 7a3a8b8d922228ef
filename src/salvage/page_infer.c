/*
 * Page size and reserved bytes of a file whose header is gone. The sum that page_view_audit()
 * takes holds only under the true geometry: with a smaller page size the cells lie outside the
 * page, with a larger one, or with other reserved bytes, the content area does not end where
 * the page does. So it is enough to count.
 */
#include "salvage/page.h"

#include <string.h>

enum {
	PAGE_SAMPLE = 4096,      /* pages looked at per page size */
	PAGE_SAMPLE_SMALL = 256, /* … and per number of reserved bytes */
	PAGE_RESERVED_MAX = 255, /* §1.3.4 is one byte */
};

static void page_infer_set(struct page_file *f, uint32_t size, uint32_t reserved)
{
	uint64_t there = (f->size + size - 1) / size;

	f->page_size = size;
	f->usable = size - reserved;
	if (f->overlay.source != PAGE_PLAIN && there < f->overlay.npages)
		there = f->overlay.npages;
	f->npages = there < UINT32_MAX ? (uint32_t)there : UINT32_MAX - 1;
}

static bool page_infer_sound(struct page_file *f, uint32_t pgno, uint8_t *buf, uint8_t *map)
{
	uint32_t avail = page_file_read(f, pgno, buf);
	struct page_view v;

	return avail == f->page_size && page_view_init(&v, f->usable, pgno, buf, avail) &&
	       page_view_audit(&v, map);
}

/* Sound pages among at most @sample, spread evenly; @enough ends the count early. */
static uint32_t page_infer_count(struct page_file *f, uint32_t sample, uint32_t enough)
{
	uint8_t *buf = f->work, *map = f->work + PAGE_SIZE_MAX;
	uint32_t step = f->npages / sample + 1, sound = 0;

	for (uint64_t pgno = 1; pgno <= f->npages && sound < enough; pgno += step)
		sound += page_infer_sound(f, (uint32_t)pgno, buf, map);
	return sound;
}

bool page_infer_holds(struct page_file *f)
{
	return page_infer_count(f, PAGE_SAMPLE_SMALL, 1) > 0 ||
	       page_infer_count(f, UINT32_MAX, 1) > 0;
}

static uint64_t page_infer_best(struct page_file *f, uint32_t fixed, uint32_t reserved,
				uint32_t sample, uint32_t *size)
{
	uint64_t best = 0;

	for (uint32_t s = PAGE_SIZE_MIN; s <= PAGE_SIZE_MAX; s *= 2) {
		uint64_t score;

		if ((fixed && s != fixed) || s - reserved < PAGE_USABLE_MIN)
			continue;
		page_infer_set(f, s, reserved);
		score = (uint64_t)page_infer_count(f, sample, UINT32_MAX) * s;
		if (score > best) {
			best = score;
			*size = s;
		}
	}
	return best;
}

bool page_infer(struct page_file *f, uint32_t fixed, uint32_t *size, uint32_t *reserved)
{
	uint64_t best = page_infer_best(f, fixed, 0, PAGE_SAMPLE, size);

	if (best) {
		*reserved = 0;
		return true;
	}
	for (uint32_t r = 1; r <= PAGE_RESERVED_MAX; r++) {
		uint32_t s = 0;
		uint64_t score = page_infer_best(f, fixed, r, PAGE_SAMPLE_SMALL, &s);

		if (score > best) {
			best = score;
			*size = s;
			*reserved = r;
		}
	}
	if (!best && page_infer_best(f, fixed, 0, UINT32_MAX, size)) {
		*reserved = 0;
		return true;
	}
	return best > 0;
}
