/* Chats that fail in ways of their own, and what arrived, for the tests of delivery. */
#pragma once

#include <stdbool.h>

#include "delivery.h"
#include "suite.h"
#include "util/fs.h"

void chats_got(const char *want);
struct notify_status delivery_status(void);
/* Nothing waits, is being sent or settled; what is parked or tried again does not count. */
bool chats_idle(void);

#define MSG(chat, text) "default/telegram:" chat " " text "\n"
extern bool chat_down;
extern const char *chat_poison;

enum delivery_answer chat_moody(const char *target, const char *text);
/* Let time pass until the next try. */
void chat_next_try(void);

enum delivery_answer chat_hangs(const char *target, const char *text);
enum delivery_answer chat_refuses(const char *target, const char *text);
