"""The face of a drawn person: skin, beard, nose, mouth, eyes and brows.

The shading of the skin comes from a height field of Gaussian bumps over an ellipsoid, lit by one
lamp (Lambert's law plus a highlight).
"""

import numpy as np

from graft.demo.body import Body
from graft.demo.shapes import curve, ellipse, mirrored, ribbon


class Face(Body):
    """The parts of the face."""

    def _relief(self) -> np.ndarray:
        """Gaussian bumps of the face: rows of x, y, radius x, radius y, height."""
        who, shot = self.identity, self.shot
        nose, mouth = who.nose_length, self.mouth_y
        lip = 0.05 + 0.012 * who.lips
        sides = [
            (self.eye_x, -0.25, 0.27, 0.10, 0.075),  # brow ridge
            (self.eye_x * 0.95, 0.02, 0.23, 0.15, -0.085),  # socket
            (self.eye_x, 0.02, 0.15, 0.09, 0.045),  # eyeball
            (0.64, 0.45, 0.28, 0.26, who.cheeks + 0.05 * shot.smile),
            (who.nose_width * 0.85, nose + 0.03, 0.07, 0.07, 0.05),  # wing of the nose
            (0.40 + 0.06 * shot.smile, nose + 0.22, 0.05, 0.20, -0.02 - 0.035 * shot.smile),
            (0.86, -0.50, 0.16, 0.30, -0.08),  # temple
        ]
        middle = [
            (0.0, 0.12, 0.10, 0.28, who.nose_bridge),
            (0.0, nose * 0.70, 0.10, 0.20, 0.12),
            (0.0, nose - 0.02, 0.13, 0.11, 0.17),  # tip of the nose
            (0.0, nose + 0.24, 0.06, 0.10, -0.02),  # philtrum
            (0.0, mouth - 0.05, 0.24, 0.055, lip),
            (0.0, mouth + 0.09, 0.22, 0.065, lip * 1.2),
            (0.0, mouth + 0.24, 0.26, 0.06, -0.055),
            (0.0, self.chin_y - 0.25, 0.24, 0.16, 0.10),
            (0.0, -0.80, 0.55, 0.35, 0.06),  # forehead
        ]
        both = [(-row[0], *row[1:]) for row in sides] + sides + middle
        relief = np.array(both)
        depth = np.full(len(relief), 0.95)
        depth[-7] = 1.18  # the tip of the nose stands out
        relief[:, :2] = self.turn(relief[:, :2], depth)
        return relief.astype(np.float32)

    def _lighting(self, window: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
        """How bright the head is (about 1 where it faces the viewer), and its highlights."""
        across, down = self.canvas.grid(window)
        x, y, rx, ry, height = self._relief()[..., None].transpose(1, 0, 2)
        u, v = (across - x) / rx, (down - y) / ry
        bump_x, bump_y = np.exp(-(u**2) / 2), np.exp(-(v**2) / 2)
        slope_x = (height * bump_y).T @ (u / rx * bump_x)
        slope_y = (height * v / ry * bump_y).T @ bump_x
        ball_x = np.clip(across / 1.28, -0.9, 0.9)
        ball_y = np.clip((down - 0.12) / 2.25, -0.8, 0.8)
        ball_z = np.sqrt(np.clip(1 - ball_x**2 - ball_y[:, None] ** 2, 0.06, 1))
        normal_x = ball_x / ball_z + slope_x
        normal_y = ball_y[:, None] / ball_z + slope_y
        length = np.sqrt(normal_x**2 + normal_y**2 + 1)
        lx, ly, lz = self.light.astype(np.float32)
        lambert = np.maximum(normal_x * lx + normal_y * ly + lz, 0) / length
        ambient = np.float32(self.shot.ambient)
        front = ambient + (1 - ambient) * max(float(lz), 0.45)
        sky = 1 - 0.10 * normal_y / length - 0.22 * (1 - 1 / length)
        shading = (ambient * sky + (1 - ambient) * lambert) / np.float32(front)
        hx, hy, hz = np.float32([lx, ly, lz + 1]) / np.float32(np.sqrt(2 + 2 * lz))
        shine = np.maximum(normal_x * hx + normal_y * hy + hz, 0) / length
        shine = shine * shine
        shine = shine * shine
        shine = shine * shine
        return shading, shine * shine * np.float32(self.shot.shine)

    def _draw_head(self) -> None:
        canvas, who = self.canvas, self.identity
        window, mask = canvas.mask(self.head)
        across, down = canvas.grid(window)
        blotch = 1 + np.float32(0.015) * self._noise(across, down, 40, 40)
        canvas.blend(window, mask, self.skin.astype(np.float32)[:, None, None] * blotch)
        blush = self.skin * (1.0, 0.78, 0.76)
        for sign in (-1, 1):
            cheek, lid, bag = self.turn(
                [(0.66, 0.52), (self.eye_x, -0.12), (self.eye_x, 0.17)] * np.array((sign, 1))
            )
            canvas.tint(cheek, (0.27, 0.22), blush, 0.45)
            canvas.tint(lid, (0.24, 0.10), self.skin * (0.72, 0.62, 0.60), 0.5)
            canvas.tint(bag, (0.22, 0.05), self.skin * (0.80, 0.68, 0.68), 0.45)
        canvas.tint(self.turn((0, who.nose_length), 1.18), (0.15, 0.12), blush, 0.4)
        if who.freckles:
            self._draw_freckles()
        if who.beard:
            self._draw_beard()
        self._draw_nose()
        self._draw_mouth()
        for sign in (-1, 1):
            self._draw_eye(sign)
            self._draw_brow(sign)
        shading, shine = self._lighting(window)
        canvas.shade(window, 1 + mask * (shading - 1))
        part = canvas.planes[:3, window[0], window[1]]
        part += (255 - part) * (shine * mask)

    def _draw_freckles(self) -> None:
        rng = np.random.default_rng([int(self.identity.freckles * 1e9)])
        spots = rng.normal((0, 0.42), (0.45, 0.18), (28, 2))
        for spot in self.turn(spots):
            self.canvas.tint(spot, (0.022, 0.022), self.dark, 0.6 * self.identity.freckles)

    def _draw_beard(self) -> None:
        who, jaw, chin = self.identity, self.jaw, self.chin
        outline = [
            (1.0 * who.face_width, 0.25),
            (1.0 * who.face_width, 0.75),
            (jaw + 0.02, 1.13),
            (0.5 * (jaw + chin) + 0.04, 1.5),
            (chin + 0.02, self.chin_y - 0.05),
            (0.0, self.chin_y + 0.02 + 0.06 * who.beard),
        ]
        inner = [
            (0.0, self.mouth_y - 0.19),
            (0.24, self.mouth_y - 0.21),
            (0.46, self.mouth_y - 0.07),
            (0.66, self.mouth_y - 0.03),
            (0.84 * who.face_width, 0.72),
            (0.92 * who.face_width, 0.25),
        ]
        beard = self.turn(np.vstack([mirrored(curve(outline)), mirrored(curve(inner)[::-1])[::-1]]))
        window, mask = self.canvas.mask(beard, soft=0.06)
        across, down = self.canvas.grid(window)
        strands = 1 + np.float32(0.22) * self._noise(across, down, 160, 60)
        colour = (self.hair * 0.8 + self.dark * 0.2).astype(np.float32)
        covered = self.canvas.planes[3, window[0], window[1]] / 255
        opacity = np.float32(0.15 + 0.75 * who.beard)
        self.canvas.blend(
            window, mask * opacity * np.maximum(covered, 0.6), colour[:, None, None] * strands
        )

    def _draw_nose(self) -> None:
        canvas, who = self.canvas, self.identity
        y, width = who.nose_length, who.nose_width
        canvas.tint(self.turn((0, y + 0.115), 1.15), (width * 0.75, 0.05), self.dark, 0.40)
        for sign in (-1, 1):
            hole = self.turn(ellipse(sign * width * 0.46, y + 0.085, 0.055, 0.028), 1.18)
            canvas.paint(hole, self.dark * 0.6, opacity=0.8, soft=0.016)
            wing = [(0.80, y - 0.07), (1.03, y + 0.01), (1.0, y + 0.09), (0.80, y + 0.11)]
            wing = self.turn(np.array(wing) * (sign * width, 1), 1.12)
            canvas.paint(ribbon(wing, [0.015, 0.04, 0.02]), self.dark, opacity=0.5, soft=0.012)
            bridge = [(0.16, -0.10), (0.11, 0.15), (0.12, y - 0.15)]
            bridge = self.turn(np.array(bridge) * (sign, 1), 1.08)
            shadow = 0.12 - 0.11 * sign * self.light[0]
            canvas.paint(ribbon(bridge, [0.06, 0.05]), self.dark, opacity=shadow, soft=0.05)

    def _draw_mouth(self) -> None:
        canvas, who, shot = self.canvas, self.identity, self.shot
        half, y, corner = self.mouth_x, self.mouth_y, self.corner_y
        gap = 0.16 * shot.mouth_open
        full = np.exp(0.7 * np.tanh(0.45 * who.lips))
        red = self.skin * (0.86, 0.60, 0.60)
        red = red + (np.array([172, 48, 60]) * (0.55 + 0.45 * self.skin[0] / 255) - red) * (
            0.42 + 0.40 * np.tanh(0.5 * who.lips)
        )
        upper_line = np.array([(-half, corner), (-half * 0.45, y - 0.012 - gap * 0.35)])
        upper_line = np.vstack([upper_line, [(0, y + 0.008 - gap * 0.4)]])
        upper_line = np.vstack([upper_line, upper_line[1::-1] * (-1, 1)])
        lower_line = np.array(upper_line)
        lower_line[1:-1, 1] += gap * np.array([0.8, 1.15, 0.8])
        top = np.array([(-half, corner), (-half * 0.5, y - 0.075 * full), (-half * 0.17, y)])
        top[2, 1] = y - 0.095 * full - gap * 0.35
        top[1, 1] -= gap * 0.25
        top = np.vstack([top, [(0, y - 0.075 * full - gap * 0.35)], top[::-1] * (-1, 1)])
        low = np.array([(-half, corner), (-half * 0.55, y + 0.105 * full + gap * 0.6)])
        low = np.vstack([low, [(0, y + 0.145 * full + gap * 0.85)], low[::-1] * (-1, 1)])

        def lips(first, second) -> np.ndarray:
            return self.turn(np.vstack([curve(first), curve(second)[::-1]]), 0.95)

        canvas.tint(self.turn((0, y + 0.21 * full + gap), 0.95), (0.22, 0.04), self.dark, 0.35)
        if gap:
            canvas.paint(lips(upper_line, lower_line), (58, 22, 24))
            teeth = np.array(upper_line)
            teeth[1:-1, 1] += gap * np.array([0.38, 0.55, 0.38])
            canvas.paint(lips(upper_line, teeth), (226, 220, 208), opacity=0.92, soft=0.006)
        canvas.paint(lips(top, upper_line), red * 0.86, opacity=0.92, soft=0.008)
        canvas.paint(lips(lower_line, low), red, opacity=0.92, soft=0.010)
        line = self.turn(curve(upper_line)[::4], 0.95)
        canvas.paint(
            ribbon(line, [0.015, 0.035, 0.03, 0.035, 0.015]), self.dark * 0.7, 0.8, soft=0.006
        )
        for sign in (-1, 1):
            canvas.tint(
                self.turn((sign * (half + 0.01), corner), 0.90), (0.045, 0.04), self.dark, 0.55
            )
            if shot.smile > 0:
                fold = [(0.24, who.nose_length + 0.06), (0.42, y - 0.20), (half + 0.14, y + 0.02)]
                fold = self.turn(np.array(fold) * (sign, 1), 0.95)
                canvas.paint(
                    ribbon(fold, [0.02, 0.05, 0.02]), self.dark, 0.35 * shot.smile, soft=0.02
                )

    def _draw_eye(self, sign: int) -> None:
        canvas, who, shot = self.canvas, self.identity, self.shot
        x, half = sign * self.eye_x, who.eye_width
        upper = who.eye_height * 1.1 * shot.eye_open
        lower = who.eye_height * 0.8 * (1 - 0.15 * max(shot.smile, 0))
        tilt = who.eye_tilt
        inner, outer = (x - sign * half, 0.025), (x + sign * half, 0.01 - tilt)
        lid = [inner, (x - sign * half * 0.55, -upper * 0.75), (x, -upper)]
        lid += [(x + sign * half * 0.6, -upper * 0.78 - tilt * 0.6), outer]
        bottom = [outer, (x + sign * half * 0.55, lower * 0.85 - tilt * 0.3), (x, lower)]
        bottom += [(x - sign * half * 0.55, lower * 0.75), inner]
        eye = self.turn(np.vstack([curve(lid), curve(bottom)]), 0.92)
        window, mask = canvas.mask(eye)
        centre = self.turn((x + shot.gaze_x, -0.008 + shot.gaze_y), 0.92)
        across, down = canvas.grid(window)
        distance = np.hypot(across - np.float32(centre[0]), down[:, None] - np.float32(centre[1]))
        sharp = np.float32(canvas.unit * 0.8)

        def disc(radius: float) -> np.ndarray:
            return np.clip((np.float32(radius) - distance) * sharp + 0.5, 0, 1)

        iris = np.array(who.iris)
        eyeball = np.float32([228, 222, 216])[:, None, None] * np.ones_like(mask)
        for radius, colour in (
            (0.102, iris * 0.45),
            (0.088, iris * 1.15),
            (0.040, iris * 0.0 + 12),
        ):
            cover = disc(radius)
            for plane, value in zip(eyeball, colour, strict=True):
                plane[:] += (np.float32(value) - plane) * cover
        shadow = np.clip((down + upper * 1.0) / (upper * 0.9), 0.0, 1.0)
        eyeball *= (0.55 + 0.45 * shadow)[:, None]
        canvas.blend(window, mask, eyeball)
        glint = centre + 0.035 * np.array([np.sign(self.light[0]) or 1.0, -1.0])
        canvas.paint(ellipse(*glint, 0.020, 0.020), (250, 250, 250), opacity=0.95)
        lash = self.turn(curve(lid)[::4], 0.92)
        canvas.paint(ribbon(lash, [0.015, 0.045, 0.05, 0.045]), self.dark * 0.30, 0.92, soft=0.004)
        rim = self.turn(curve(bottom)[::4], 0.92)
        canvas.paint(ribbon(rim, [0.02, 0.018]), self.dark * 0.9, 0.55, soft=0.006)
        crease = np.array(lid) + (0, -0.055)
        crease[[0, -1], 1] += 0.03
        crease = self.turn(curve(crease)[::4], 0.92)
        canvas.paint(ribbon(crease, [0.01, 0.03, 0.02]), self.dark, 0.55, soft=0.008)
        canvas.paint(
            ellipse(*self.turn((x - sign * (half - 0.02), 0.022), 0.92), 0.022, 0.016),
            self.skin * (0.92, 0.62, 0.60),
            opacity=0.7,
        )

    def _draw_brow(self, sign: int) -> None:
        canvas, who = self.canvas, self.identity
        y = -who.brow_height - self.shot.brow_raise
        x = self.eye_x
        thick = 0.095 * np.exp(0.28 * who.brow)
        points = [
            (x - 0.29, y + 0.035 + who.brow_tilt),
            (x - 0.10, y - who.brow_arch * 0.5 + who.brow_tilt * 0.4),
            (x + 0.12, y - who.brow_arch - who.brow_tilt * 0.4),
            (x + 0.33, y + 0.045 - who.brow_tilt),
        ]
        brow = self.turn(np.array(points) * (sign, 1), 0.95)
        shape = ribbon(brow, [thick * 0.75, thick, thick * 0.9, thick * 0.25])
        colour = self.hair * 0.62
        opacity = float(np.clip(0.72 + 0.10 * who.brow, 0.4, 0.95))
        canvas.paint(shape, colour, opacity, soft=0.014)
