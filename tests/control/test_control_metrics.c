/*
 * /metrics in both formats, as promtool reads it where it is installed; the alerts and the
 * dashboard ask for nothing that the daemon does not say; /livez and /readyz.
 */
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/rig.h"
#include "kit/web.h"

static struct web_answer *get(const char *accept)
{
	int fd = web_open(web_socket());
	char *text;

	web_send(fd, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s%s%s\r\n",
		 accept ? "Accept: " : "", accept ? accept : "", accept ? "\r\n" : "");
	text = web_read(fd, NULL, 10000);
	(void)close(fd);
	return web_answer(text, strlen(text));
}

static bool has(const char *text, const char *line)
{
	return strstr(text, rig_printf("\n%s\n", line)) != NULL;
}

/* A command of the shell with @text as its input; is it there, and is it content? */
static bool takes(const char *command, const char *text)
{
	rig_write("input", text);
	return system(rig_printf("%s <%s >%s 2>&1", command, rig_path("input"),
				 rig_path("said"))) == 0;
}

static bool installed(const char *program)
{
	return system(rig_printf("command -v %s >/dev/null", program)) == 0;
}

/* ---- formats ------------------------------------------------------------------------- */

/* Every line is a comment of a family, or a sample of the family last named; no family twice.
 * Return: samples */
static unsigned well_formed(const char *given, bool open)
{
	char *text = rig_printf("%s", given), *line, *family = NULL;
	char *seen = rig_printf("%s", "\n");
	unsigned samples = 0;

	while ((line = strsep(&text, "\n")) && *line && strcmp(line, "# EOF") != 0) {
		char name[128], kind[16];
		double number;
		int end = 0;

		if (sscanf(line, "# %15s %127s ", kind, name) == 2 &&
		    strcmp(kind, "HELP") == 0) {
			family = rig_printf("%s", name);
			ck_assert_msg(!strstr(seen, rig_printf("\n%s\n", name)), "%s twice",
				      name);
			seen = rig_printf("%s%s\n", seen, name);
			continue;
		}
		ck_assert_ptr_nonnull(family);
		if (line[0] == '#') {
			ck_assert_msg(strcmp(name, family) == 0, "%s", line);
			ck_assert_msg(open || strcmp(kind, "TYPE") == 0, "%s", line);
			continue;
		}
		ck_assert_msg(!strncmp(line, family, strlen(family)), "%s in %s", line, family);
		ck_assert_msg(sscanf(strrchr(line, ' ') + 1, "%lf%n", &number, &end) == 1, "%s",
			      line);
		samples++;
	}
	if (open)
		ck_assert(line && strcmp(line, "# EOF") == 0 && text && !*text);
	else
		ck_assert(line && !*line && !text);
	return samples;
}

START_TEST(metrics_by_accept)
{
	const char *scrape = "application/openmetrics-text;version=1.0.0,"
			     "application/openmetrics-text;version=0.0.1;q=0.75,"
			     "text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
	struct web_answer *a;
	struct rig_daemon *d;

	rig_board("default", 0);
	d = rig_start();
	a = get(NULL);
	ck_assert_ptr_nonnull(strstr(a->head, "text/plain; version=0.0.4; charset=utf-8"));
	ck_assert_uint_gt(well_formed(a->body, false), 60);
	ck_assert(has(a->body, "# TYPE kanband_sweeps_total counter"));
	ck_assert(has(a->body, "# TYPE kanband_build_info gauge"));
	a = get(scrape);
	ck_assert_ptr_nonnull(
		strstr(a->head, "application/openmetrics-text; version=1.0.0; charset=utf-8"));
	ck_assert_uint_gt(well_formed(a->body, true), 60);
	ck_assert(has(a->body, "# TYPE kanband_sweeps counter"));
	ck_assert(has(a->body, "# TYPE kanband_build info"));
	a = get("text/plain");
	ck_assert_uint_gt(well_formed(a->body, false), 60);
	a = get("*/*");
	ck_assert_uint_gt(well_formed(a->body, false), 60);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(metrics_please_promtool)
{
	struct rig_daemon *d;
	struct rig_out *out;

	if (!installed("promtool")) {
		printf("SKIP: no promtool; run: make deps\n");
		return;
	}
	rig_board("default", 0);
	rig_profile("jimmy");
	rig_add("default", .id = "t_1");
	d = rig_start();
	(void)rig_ran("t_1");
	out = rig_kanbanctl("--socket", web_socket(), "--root", rig.root, "metrics");
	ck_assert_msg(out->status == 0, "%s", out->err);
	ck_assert_msg(takes("promtool check metrics", out->text), "%s", rig_read("said"));
	ck_assert_msg(!*rig_read("said"), "%s", rig_read("said"));
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* ---- what they say ------------------------------------------------------------------- */

START_TEST(metrics_of_boards)
{
	int64_t now = rig_now();
	struct rig_daemon *d;
	long age = -1;
	char *text;

	rig_board("default", 0);
	rig_board("other", 0);
	rig_profile("jimmy");
	rig_add("default", .id = "t_1");
	rig_add("default", .id = "t_2", .assignee = "nemo", .created_at = now - 500);
	rig_add("default", .id = "t_3", .status = "triage", .assignee = RIG_NOBODY);
	rig_add("default", .id = "t_4", .status = "x\n\"y{", .assignee = RIG_NOBODY);
	d = rig_start();
	(void)rig_ran("t_1");
	RIG_UNTIL(has(get(NULL)->body, rig_printf("kanband_tasks{root=\"%s\",board=\"default\","
						  "status=\"running\"} 1",
						  rig.root)),
		  10000);
	text = get(NULL)->body;
	ck_assert(has(text, rig_printf("kanband_tasks{root=\"%s\",board=\"default\","
				       "status=\"triage\"} 1",
				       rig.root)));
	ck_assert(has(text, rig_printf("kanband_tasks{root=\"%s\",board=\"default\","
				       "status=\"other\"} 1",
				       rig.root)));
	ck_assert(has(text, rig_printf("kanband_board_state{root=\"%s\",board=\"other\","
				       "state=\"healthy\"} 1",
				       rig.root)));
	ck_assert(has(text, rig_printf("kanband_lease_role{root=\"%s\",role=\"owner\"} 1",
				       rig.root)));
	ck_assert(has(text, rig_printf("kanband_evidence_bytes{root=\"%s\",board=\"other\"} 0",
				       rig.root)));
	text = strstr(text, "kanband_oldest_ready_age_seconds{");
	ck_assert_ptr_nonnull(text);
	ck_assert_int_eq(sscanf(strstr(text, "} ") + 2, "%ld", &age), 1);
	ck_assert(age >= 500 && age < 700);
	rig_let_go();
	RIG_UNTIL(has(get(NULL)->body, "kanband_run_seconds_count 1"), 10000);
	ck_assert(has(get(NULL)->body, "kanband_ready_to_exec_seconds_count 1"));
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* The emergency stop, for whoever watches a screen and not the journal. */
START_TEST(metrics_of_an_estop)
{
	struct rig_daemon *d;
	const char *zero = rig_printf("kanband_estop{root=\"%s\"} 0", rig.root);
	const char *one = rig_printf("kanband_estop{root=\"%s\"} 1", rig.root);

	rig_board("default", 0);
	d = rig_start();
	RIG_UNTIL(has(get(NULL)->body, zero), 10000);
	ck_assert(json_is_null(
		web_member(web_json(web_get("/v1/status"), 200), "roots.0.estop")));
	rig_write("root/ESTOP", "{\"reason\": \"lunch\"}");
	RIG_UNTIL(has(get(NULL)->body, one), 10000);
	ck_assert_ptr_nonnull(strstr(
		web_text(web_json(web_get("/v1/status"), 200), "roots.0.estop"), "lunch"));
	ck_assert_int_eq(unlink(rig_path("root/ESTOP")), 0);
	RIG_UNTIL(has(get(NULL)->body, zero), 10000);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* The bytes of a path are anybody's choice. */
START_TEST(metrics_of_a_strange_root)
{
	struct rig_daemon *d;
	char *text;

	rig.root = rig_path("r\xff \"q\\\nx");
	ck_assert_int_eq(mkdir(rig.root, 0755), 0);
	rig_board("default", 0);
	d = rig_start();
	text = get(NULL)->body;
	ck_assert_ptr_nonnull(strstr(text, "r\xEF\xBF\xBD \\\"q\\\\\\nx\"} 1\n"));
	ck_assert_uint_gt(well_formed(text, false), 60);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* ---- alerts and the dashboard -------------------------------------------------------- */

/* Is there a sample or a family of that name, in the text format? */
static bool said(const char *text, const char *name)
{
	size_t n = strlen(name);

	for (const char *at = text; (at = strstr(at, name)); at += n)
		if ((at == text || at[-1] == '\n') && (at[n] == ' ' || at[n] == '{'))
			return true;
	return has(text, rig_printf("# TYPE %s gauge", name)) ||
	       has(text, rig_printf("# TYPE %s counter", name));
}

/* Every kanband_… and process_… of a file. Return: how many. */
static unsigned names_known(const char *path, const char *text)
{
	static const char *const begins[] = { "kanband_", "process_" };
	char *file = NULL;
	size_t size = 0;
	FILE *in = fopen(path, "re");
	unsigned n = 0;

	ck_assert_msg(in != NULL, "no %s here: run from the top of the tree", path);
	ck_assert_int_gt(getdelim(&file, &size, '\0', in), 0);
	(void)fclose(in);
	for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++)
		for (char *at = file; (at = strstr(at, begins[i]));) {
			size_t len = 0;
			char name[128];

			if (at > file && (isalnum((unsigned char)at[-1]) || at[-1] == '_')) {
				at++;
				continue;
			}
			while (isalnum((unsigned char)at[len]) || at[len] == '_')
				len++;
			(void)snprintf(name, sizeof(name), "%.*s", (int)len, at);
			ck_assert_msg(said(text, name), "%s: the daemon says no %s", path,
				      name);
			at += len;
			n++;
		}
	free(file);
	return n;
}

START_TEST(metrics_that_are_asked_for)
{
	struct rig_daemon *d;
	char *text;

	rig_board("default", 0);
	d = rig_start();
	RIG_UNTIL(strstr(get(NULL)->body, "kanband_tasks{") != NULL, 10000);
	text = get(NULL)->body;
	ck_assert_uint_gt(names_known("conf/prometheus/kanband.rules.yml", text), 15);
	ck_assert_uint_gt(names_known("conf/grafana/kanband.json", text), 25);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* What is drawn, with the variables filled in: rules that promtool reads. */
static char *dashboard_rules(const json_t *dashboard)
{
	char *rules = rig_printf("groups: [{ name: dashboard, rules: [\n");
	json_t *panel, *target;
	size_t i, k, n = 0;

	json_array_foreach(json_object_get(dashboard, "panels"), i, panel)
	{
		json_array_foreach(json_object_get(panel, "targets"), k, target)
		{
			const char *expr = json_string_value(json_object_get(target, "expr"));
			json_t *text;

			rig_write("expr", expr);
			rig_shell("sed -i 's/\\$__rate_interval/5m/g; s/\\$instance/.*/g;"
				  " s/\\$root/.*/g; s/\\$board/.*/g' expr");
			text = json_string(rig_read("expr"));
			rules = rig_printf("%s{ record: \"a:%zu\", expr: %s },\n", rules, n++,
					   rig_json_text(text));
			json_decref(text);
		}
	}
	ck_assert_uint_gt(n, 20);
	return rig_printf("%s] }]\n", rules);
}

START_TEST(dashboard_is_drawable)
{
	json_t *dashboard = json_load_file("conf/grafana/kanband.json", 0, NULL), *panel;
	bool taken[64][24] = { { false } };
	char *ids = rig_printf(",");
	size_t i;

	ck_assert_ptr_nonnull(dashboard);
	ck_assert_int_ge(json_integer_value(json_object_get(dashboard, "schemaVersion")), 36);
	json_array_foreach(json_object_get(dashboard, "panels"), i, panel)
	{
		json_t *pos = json_object_get(panel, "gridPos");
		json_int_t id = json_integer_value(json_object_get(panel, "id"));
		json_int_t x = web_int(pos, "x"), y = web_int(pos, "y");

		ck_assert_msg(!strstr(ids, rig_printf(",%d,", (int)id)), "id %d twice",
			      (int)id);
		ids = rig_printf("%s%d,", ids, (int)id);
		ck_assert(*web_text(panel, "title"));
		for (json_int_t k = y; k < y + web_int(pos, "h"); k++)
			for (json_int_t j = x; j < x + web_int(pos, "w"); j++) {
				ck_assert(j < 24 && k < 64);
				ck_assert_msg(!taken[k][j], "%s lies on another one",
					      web_text(panel, "title"));
				taken[k][j] = true;
			}
	}
	rig_write("dashboard.yml", dashboard_rules(dashboard));
	json_decref(dashboard);
	if (!installed("promtool")) {
		printf("SKIP: no promtool; run: make deps\n");
		return;
	}
	ck_assert_msg(
		takes(rig_printf("promtool check rules %s", rig_path("dashboard.yml")), ""),
		"%s", rig_read("said"));
	ck_assert_msg(takes("promtool check rules conf/prometheus/kanband.rules.yml", ""), "%s",
		      rig_read("said"));
}
END_TEST

/* ---- livez, readyz ------------------------------------------------------------------- */

START_TEST(probes)
{
	struct rig_daemon *d, *standby;

	rig_board("default", 0);
	d = rig_start();
	ck_assert_str_eq(web_get("/livez")->body, "ok\n");
	RIG_UNTIL(web_get("/readyz")->status == 200, 10000);
	standby = rig_start();
	ck_assert_str_eq(web_get("/readyz")->body,
			 "ok\n"); /* waiting is what it is there for */
	ck_assert_int_eq(rig_stop(standby), 0);
	ck_assert_int_eq(web_ask(web_socket_of(0), "GET", "/readyz", NULL)->status, 200);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* While it starts, a daemon that is asked says that it is not ready; here its root's lease
 * cannot be had, so it stays that way or ends. */
START_TEST(probe_says_why_not)
{
	struct rig_daemon *d;
	bool seen = false;
	int fd;

	rig_board("default", 0);
	rig_mkdir("root/kanban/.dispatcher.lock");
	d = rig_start_args(false, (const char *const[]){ NULL });
	while (!seen && !rig_ended(d)) {
		fd = rig_exists(web_socket()) ? web_try_open(web_socket()) : -1;
		if (fd >= 0) {
			char *text;

			web_send(fd, "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: "
				     "close\r\n\r\n");
			text = web_read(fd, NULL, 20000);
			(void)close(fd);
			seen = strstr(text, " 503 ") && strstr(text, rig.root);
			ck_assert(seen || !*text || rig_ended(d));
		}
		rig_pause();
	}
	if (!rig_ended(d))
		(void)rig_stop(d);
}
END_TEST

Suite *test_suite(void)
{
	TCase *tc = rig_tcase("metrics", 60);

	tcase_add_test(tc, metrics_by_accept);
	tcase_add_test(tc, metrics_please_promtool);
	tcase_add_test(tc, metrics_of_boards);
	tcase_add_test(tc, metrics_of_an_estop);
	tcase_add_test(tc, metrics_of_a_strange_root);
	tcase_add_test(tc, metrics_that_are_asked_for);
	tcase_add_test(tc, dashboard_is_drawable);
	tcase_add_test(tc, probes);
	tcase_add_test(tc, probe_says_why_not);
	return rig_suite("control_metrics", tc, NULL);
}
