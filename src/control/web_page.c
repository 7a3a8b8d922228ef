/*
 * The page: src/control/page/page.html with its style and its script in it, so that what is
 * served is one file that needs no other. The three are in this program as they are in the
 * folder; they are put together when somebody asks, and cost an idle daemon nothing.
 *
 * Content-Security-Policy names the two by their digest: nothing else runs, nothing is loaded
 * from anywhere, and nothing is asked but this API. Whatever a board holds is text to it.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "control.h"
#include "util/digest.h"

/* NAME and NAME_size: the bytes of a file, then a NUL; the Makefile knows that this depends on
 * it. */
#define WEB_PAGE_FILE(name, path)                                                              \
	__asm__(".section .rodata\n" #name ":\n.incbin \"" path "\"\n" #name "_end:\n"         \
		".byte 0\n.balign 8\n" #name "_size:\n.quad " #name "_end - " #name            \
		"\n.previous\n");                                                              \
	extern const char name[];                                                              \
	extern const uint64_t name##_size

WEB_PAGE_FILE(web_page_html, "src/control/page/page.html");
WEB_PAGE_FILE(web_page_style, "src/control/page/page.css");
WEB_PAGE_FILE(web_page_script, "src/control/page/page.js");

/* Where the other two go. */
static const char web_page_style_here[] = "{{style}}", web_page_script_here[] = "{{script}}";

#define WEB_PAGE_DIGEST 45 /* base64 of SHA-256, and a NUL */

static unsigned web_page_nibble(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* The digest as Content-Security-Policy wants it. */
static void web_page_digest(const char *data, size_t n, char out[WEB_PAGE_DIGEST])
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char hex[DIGEST_HEX + 1];
	struct digest d;
	size_t at = 0;

	digest_init(&d);
	digest_add(&d, data, n);
	digest_hex(&d, hex);
	/* three hexadecimal digits are two of base64; 64 of them leave one over */
	for (size_t i = 0; i + 3 <= DIGEST_HEX; i += 3) {
		unsigned v = web_page_nibble(hex[i]) << 8 | web_page_nibble(hex[i + 1]) << 4 |
			     web_page_nibble(hex[i + 2]);

		out[at++] = digits[v >> 6];
		out[at++] = digits[v & 63];
	}
	out[at++] = digits[web_page_nibble(hex[DIGEST_HEX - 1]) << 2];
	out[at++] = '=';
	out[at] = '\0';
}

/* The three as one; NULL: out of memory. */
static char *web_page_text(size_t *n)
{
	const char *style = strstr(web_page_html, web_page_style_here);
	const char *script = strstr(web_page_html, web_page_script_here);
	char *text = NULL;
	FILE *out = open_memstream(&text, n);
	bool bad;

	if (!out)
		return NULL;
	(void)fwrite(web_page_html, 1, (size_t)(style - web_page_html), out);
	(void)fwrite(web_page_style, 1, web_page_style_size, out);
	style += sizeof(web_page_style_here) - 1;
	(void)fwrite(style, 1, (size_t)(script - style), out);
	(void)fwrite(web_page_script, 1, web_page_script_size, out);
	(void)fputs(script + sizeof(web_page_script_here) - 1, out);
	bad = ferror(out) != 0;
	if (fclose(out) == 0 && !bad)
		return text;
	free(text);
	return NULL;
}

void web_page_get(struct request *req)
{
	char style[WEB_PAGE_DIGEST], script[WEB_PAGE_DIGEST], policy[384];
	size_t n = 0;
	char *text = web_page_text(&n);

	reply_text(req, 200, "text/html; charset=utf-8", text, n);
	web_page_digest(web_page_style, web_page_style_size, style);
	web_page_digest(web_page_script, web_page_script_size, script);
	(void)snprintf(
		policy, sizeof(policy),
		"default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; "
		"connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
		"frame-ancestors 'none'",
		style, script);
	reply_header(req, "Content-Security-Policy", policy);
	reply_header(req, "Referrer-Policy", "no-referrer");
	reply_header(req, "X-Frame-Options", "DENY");
}
