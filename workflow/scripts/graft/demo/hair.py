"""The hair of a drawn person, and glasses."""

import numpy as np

from graft.demo.body import Body
from graft.demo.people import HANGS
from graft.demo.shapes import curve, ribbon, texture


class Hair(Body):
    """Hair behind and before the head."""

    def _prepare_hair(self) -> None:
        """Lit strands for the whole hair, from which every hair shape is cut."""
        canvas, who, shot = self.canvas, self.identity, self.shot
        window = canvas.window(-1.75, -2.2, 1.75, max(0.6, self.hair_bottom + 0.15))
        across, down = canvas.grid(window)
        part = np.float32(
            0.28 * self.shot.hair_side * (self.shot.hair_style == "side") + 0.2 * np.sin(shot.yaw)
        )
        dx = np.broadcast_to(across - part, (len(down), len(across)))
        dy = np.broadcast_to((down + 2.3)[:, None], dx.shape)
        angle = np.arctan2(dx, dy)
        angle = angle + np.float32(0.07 * who.hair_wave) * np.sin(
            dy * 5 + np.float32(3 * shot.hair_shift)
        )
        columns = (angle * 150 + 512).astype(np.int32) % 512
        rows = (dy * 12 + shot.seed % 97).astype(np.int32) % 512
        strands = texture()[rows, columns]
        ball_x = np.clip(across / 1.55, -0.95, 0.95)
        ball_y = np.clip((down + 0.1) / 2.0, -0.9, 0.5)[:, None]
        ball_z = np.sqrt(np.clip(1 - ball_x**2 - ball_y**2, 0.04, 1))
        lx, ly, lz = self.light.astype(np.float32)
        lambert = np.clip(ball_x * lx + ball_y * ly + ball_z * lz, 0, 1)
        gloss = np.exp(-(((ball_y - 0.9 * ly - 0.12 + 0.03 * strands) / 0.16) ** 2) / 2) * lambert
        ambient = np.float32(shot.ambient)
        light = (ambient + (1 - ambient) * lambert) * (1 + np.float32(0.20) * strands)
        light = light / (ambient + (1 - ambient) * max(float(lz), 0.45))
        colour = self.hair.astype(np.float32)[:, None, None] * light
        colour += (np.float32(70) + 0.4 * colour) * (gloss * np.float32(0.25 + shot.shine * 2))
        self.hair_window, self.hair_planes = window, colour

    def _hair_outer(self) -> list[tuple[float, float]]:
        """The right outline of the hair, from its bottom to the top of the head."""
        volume, bottom = 0.10 + 0.22 * self.identity.hair_volume, self.hair_bottom
        width = 1.07 * self.identity.face_width
        short = float(np.clip((0.9 - bottom) / 0.9, 0, 1))  # short hair hugs the skull
        side = volume * (1 - 0.6 * short)
        points = [(width + side * 0.95, 0.15), (width + side, -0.45)]
        points += [(width * 0.86 + side * 0.8, -1.08), (width * 0.50 + side * 0.3, -1.42 - volume)]
        if bottom > HANGS:  # long enough to hang
            wave = 0.05 * self.identity.hair_wave
            below = [
                (width + side * 1.15 + wave * (-1) ** k, y)
                for k, y in enumerate(np.arange(bottom - 0.18, 0.5, -0.4))
            ]
            points = [(width * 0.90 + side * 0.2, bottom), *below, *points]
        else:
            points = [(width + side * 0.4, bottom), *points]
        return [*points, (0.0, -1.54 - volume)]

    def _draw_back_hair(self) -> None:
        outer = curve(self._hair_outer())
        inner = curve([(0.0, 1.0), (0.5, 1.1), (0.62, min(1.6, self.hair_bottom))])
        end = np.array([(0.62, self.hair_bottom)])
        right = np.vstack([outer[::-1], end, inner[::-1]])
        shape = np.vstack([right, (right * (-1, 1))[::-1]])
        window, planes = self.hair_window, self.hair_planes * np.float32(0.62)
        self.canvas.paint_planes(self.turn(shape, -0.15), planes, window)

    def _hairline(self) -> np.ndarray:
        """The lower edge of the front hair, from the right temple to the left one."""
        who = self.identity
        lift = who.hairline + self.shot.hair_shift * 0.3
        styles = {
            "side": [(0.95, -0.35), (0.84, -0.66), (0.62, -0.92), (0.32, -1.08)]
            + [(-0.1, -0.90), (-0.5, -0.72), (-0.80, -0.52), (-0.95, -0.25)],
            "back": [(0.95, -0.40), (0.86, -0.72), (0.66, -0.96), (0.25, -1.06)]
            + [(-0.25, -1.06), (-0.66, -0.96), (-0.86, -0.72), (-0.95, -0.40)],
            "fringe": [(0.95, -0.30), (0.82, -0.50), (0.55, -0.56), (0.2, -0.55)]
            + [(-0.2, -0.57), (-0.55, -0.55), (-0.82, -0.50), (-0.95, -0.30)],
            "centre": [(0.95, -0.20), (0.88, -0.48), (0.62, -0.78), (0.14, -1.10)]
            + [(-0.14, -1.10), (-0.62, -0.78), (-0.88, -0.48), (-0.95, -0.20)],
        }
        points = np.array(styles[self.shot.hair_style])
        points[:, 1] -= lift
        points[:, 0] *= who.face_width
        if self.shot.hair_side < 0:
            points = points[::-1] * (-1, 1)
        return points

    def _draw_front_hair(self) -> None:
        canvas, who = self.canvas, self.identity
        outer = self._hair_outer()
        bottom = self.hair_bottom
        width = 1.07 * who.face_width
        if bottom > HANGS:  # over the ears, beside the face
            side = [(width * 1.0, bottom), *((width * 0.985, y) for y in (1.2, 0.7) if y < bottom)]
            side += [(width * 0.96, 0.25), (width * 0.94, 0.0)]
        else:
            side = [(width * 0.985, bottom), (width * 0.945, bottom - 0.08), (width * 0.93, -0.12)]
        hairline = self._hairline()
        inner = np.vstack([side, hairline, np.array(side)[::-1] * (-1, 1)])
        inner = self.turn(curve(inner))
        right = self.turn(curve(outer), -0.1)
        left = self.turn(curve(outer) * (-1, 1), -0.1)
        shape = np.vstack([right[::-1], inner, left])
        shadow = shape + (-0.05 * self.light[0], 0.07)
        window, mask = canvas.mask(shadow, soft=0.05)
        covered = canvas.planes[3, window[0], window[1]] / 255
        canvas.shade(window, 1 - 0.38 * mask * (covered >= 1))
        canvas.paint_planes(shape, self.hair_planes, self.hair_window, soft=0.012)

    def _draw_glasses(self) -> None:
        canvas = self.canvas
        thick = self.shot.glasses == "thick"
        frame = np.array([34, 30, 32] if thick else [120, 104, 84])
        width = 0.045 if thick else 0.028
        rims = {}
        for sign in (-1, 1):
            x = sign * (self.eye_x + 0.02)
            angle = np.linspace(0, 2 * np.pi, 17)
            power = 0.75 if thick else 1.0  # squarish or round
            cos, sin = np.cos(angle), np.sin(angle)
            rim = np.stack(
                [
                    x + 0.37 * np.sign(cos) * abs(cos) ** power,
                    0.03 + 0.27 * np.sign(sin) * abs(sin) ** power,
                ],
                axis=1,
            )
            rims[sign] = self.turn(rim, 1.02)
            canvas.paint(rims[sign], (235, 240, 245), opacity=0.05)
            canvas.paint(ribbon(rims[sign], [width]), frame, opacity=0.95)
            arm = self.turn(
                np.array([(x + sign * 0.36, -0.02), (sign * 1.06, -0.02)]), np.array([1.0, 0.15])
            )
            canvas.paint(ribbon(arm, [width]), frame, opacity=0.9)
        bridge = self.turn(
            [(-self.eye_x + 0.35, -0.01), (0, -0.05), (self.eye_x - 0.35, -0.01)], 1.1
        )
        canvas.paint(ribbon(bridge, [width]), frame, opacity=0.95)
