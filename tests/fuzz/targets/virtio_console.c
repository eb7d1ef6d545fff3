// SPDX-License-Identifier: MIT
// A console whose device lies: ports named and removed, input, output that nobody takes.
// modules/virtio/virtio_console.c, virtio_console_ctrl.c

#include "device.h"
#include "world.h"

extern const hal_driver_t virtio_console_driver;
bool fake_event_arm(void);

void fuzz_one(void) {
    static uint8_t text[9000];
    fake_device_t *d = device_new(VIRTIO_ID_CONSOLE);
    for (unsigned i = 2; i < 8; i++) {
        d->queue[i].max = d->queue[0].max;
    }
    if (virtio_console_driver.probe() != 1) {
        return;
    }
    while (in_left() > 0) {
        unsigned what = in_below(12);
        if (what < 6) {
            device_works(d, what);
        } else if (what < 8) {
            hal_event_run();
        } else if (what == 8) {
            fake_event_arm();
        } else if (what == 9) {
            fake_hal.input_room = in_u16();
        } else if (what == 10) {
            fake_hal.now += (uint64_t)in_u8() << 22;
        } else if (fake_hal.sink != NULL) {
            uint32_t len = in_u16() % sizeof text;
            const hal_console_sink_t *sink = fake_hal.sink; // no longer attached, perhaps, when it has died in there
            FUZZ_CHECK(sink->send(sink->ctx, text, len) <= len);
            sink->send_idle(sink->ctx);
        }
    }
}
