"""Writes every frame of every link of this network namespace to a file, until SIGTERM.

	capture.py FILE

Says "ready" once it listens, and at the end how many frames it missed.  Frames are written
one after the other, each after its length (little-endian, 4 bytes).
"""

import signal
import socket
import struct
import sys

ETH_P_ALL, SOL_PACKET, PACKET_STATISTICS, SO_RCVBUFFORCE = 3, 263, 6, 33
FRAME_BYTES_MAX = 1 << 17


LOOK_S = 0.1


def main():
    stopped = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    listener.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 256 << 20)
    listener.settimeout(LOOK_S)
    room = bytearray(FRAME_BYTES_MAX)
    with open(sys.argv[1], "wb") as out:
        print("ready", flush=True)
        while True:
            if stopped:
                listener.setblocking(False)  # what has arrived, no more
            try:
                count = listener.recv_into(room)
            except TimeoutError:
                continue
            except BlockingIOError:
                break
            out.write(struct.pack("<I", count))
            out.write(memoryview(room)[:count])
    statistics = listener.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
    print(struct.unpack("II", statistics)[1], flush=True)


main()
