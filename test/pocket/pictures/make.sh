#!/bin/sh
# Makes the pictures of ../by-hand.json again, with other tools than Pocket's generator. Debian 12:
# apt-get install imagemagick gnuplot-nox chromium tango-icon-theme fonts-dejavu-core fonts-liberation2
set -e
cd "$(dirname "$0")"
page() { # name, width, height, HTML
  printf '<!doctype html><meta charset=utf-8><style>body{margin:0;font:16px "Liberation Sans"}</style>%s' "$4" >/tmp/page.html
  chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size="$2,$3" --screenshot="$PWD/$1.png" /tmp/page.html >/dev/null 2>&1
}

convert -size 200x200 xc:white -fill red -draw 'circle 100,100 100,40' magick-circle.png
convert -size 300x200 xc:white -fill blue -draw 'rectangle 30,60 110,140' -fill green -draw 'polygon 220,50 270,140 170,140' magick-two.png
convert -size 240x240 xc:black -fill yellow -draw 'circle 60,60 60,35 circle 180,60 180,35 circle 60,180 60,155' -fill red -draw 'rectangle 155,155 205,205' magick-four.png
convert -size 200x200 xc:'#888888' -fill orange -draw 'polygon 60,20 140,20 190,100 140,180 60,180 10,100' magick-hexagon.png
convert -size 220x220 xc:white -fill '#c00000' -draw 'polygon 75,20 145,20 200,75 200,145 145,200 75,200 20,145 20,75' \
  -font DejaVu-Sans-Bold -pointsize 46 -fill white -gravity center -annotate 0 STOP magick-stop.png
convert -background white -fill black -font Liberation-Serif -pointsize 32 'label: Hello World ' magick-hello.png
convert -background navy -fill yellow -font DejaVu-Sans -pointsize 40 'label: $4.99 ' magick-price.png
convert rose: -resize 280x magick-rose.jpg
convert -size 240x160 plasma:orange-blue -blur 0x2 -font DejaVu-Sans-Bold -pointsize 28 -fill white -gravity south -annotate 0 'Holiday!' -quality 80 magick-plasma.jpg

gnuplot <<'G'
set terminal pngcairo size 320,240 font 'Liberation Sans,11'
set style fill solid noborder
set boxwidth .7
unset key
set yrange [0:10]
set xtics ('' 1)
set output 'gnuplot-bars.png'
plot '-' using 1:2:3 with boxes linecolor rgb variable
1 4 0xdc1e1e
2 9 0x2846dc
3 6 0x1ea032
e
set output 'gnuplot-values.png'
set yrange [0:60]
plot '-' using 1:2:3 with boxes linecolor rgb variable, '-' using 1:2:2 with labels offset 0,.7
1 50 0xf58214
2 20 0x8228aa
e
1 50
2 20
e
reset
set terminal pngcairo size 320,240 font 'Liberation Sans,11'
set output 'gnuplot-line.png'
set title 'Sales'
plot sin(x) with lines title 'north', cos(x) with lines title 'south'
set output 'gnuplot-points.png'
unset title
plot '-' with points pointtype 7 pointsize 2 notitle
1 2
3 4
4 1
6 5
e
G

for icon in emblems/emblem-favorite status/weather-clear places/folder; do
  convert -background white /usr/share/icons/Tango/32x32/$icon.png -flatten -filter point -resize 400% "tango-$(basename $icon).png"
done

page chromium-login 320 240 '<h2 style="margin:16px">Sign in</h2><p style="margin:16px">Email <input><p style="margin:16px">Password <input type=password><p style="margin:16px"><button>Log in</button> <a href=#>Forgot it?</a>'
page chromium-closed 260 80 '<div style="font:bold 34px Liberation Sans;padding:18px;color:#fff;background:#1e7a34">Closed today</div>'
page chromium-shapes 300 160 '<div style="position:absolute;left:30px;top:40px;width:80px;height:80px;border-radius:50%;background:#2846dc"></div><div style="position:absolute;left:190px;top:40px;width:80px;height:80px;background:#dc1e1e"></div>'
page chromium-table 320 160 '<table border=1 cellpadding=6 style="margin:10px"><tr><th>Name<th>Age<th>City<tr><td>Ann<td>31<td>Oslo<tr><td>Ben<td>45<td>Rome<tr><td>Eve<td>27<td>Lima</table>'
for file in *.png; do convert "$file" -strip -define png:compression-level=9 PNG8:"$file"; done
