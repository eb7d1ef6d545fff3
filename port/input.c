// SPDX-License-Identifier: MIT
// input(): a line of the console, through upstream's line editor. Owns nothing that outlives a line. Not here: the
// REPL's lines (dev/repl.c). Context: main loop.

#include "py/mphal.h"
#include "shared/readline/readline.h"

#include "dev/dev.h"

// As upstream's readline(), for files and pipes too, whose lines end in a line feed. In a dev image the end of the
// host's input is the end of the line, and of all lines after it.
int floe_readline(vstr_t *line, const char *prompt) {
    static int before; // a carriage return is the enter key by itself, and may have a line feed behind it
    readline_init(line, prompt);
    for (;;) {
        int c = FLOE_DEV && floe_repl_input_over() ? CHAR_CTRL_D : mp_hal_stdin_rx_chr();
        int last = before;
        before = c;
        if (c == '\n' && last == '\r') {
            continue;
        }
        if (FLOE_DEV && floe_repl_is_input_end(last, c)) {
            vstr_cut_tail_bytes(line, 1);
            return line->len > 0 ? 0 : CHAR_CTRL_D;
        }
        int result = readline_process_char(c == '\n' ? '\r' : c);
        if (result >= 0) {
            return result;
        }
    }
}
