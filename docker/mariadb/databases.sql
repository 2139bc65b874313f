-- Runs once, on an empty volume, after the image has made the user of MARIADB_USER. Each service makes its own tables.
CREATE DATABASE IF NOT EXISTS `inventory` CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
CREATE DATABASE IF NOT EXISTS `order` CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
GRANT ALL ON `inventory`.* TO 'reback'@'%';
GRANT ALL ON `order`.* TO 'reback'@'%';
